# Build, show, test and install tsmig. Needs root, make, and a Rust that is new enough (`rust-version` in Cargo.toml), which
# comes from the distribution if that has it, else from rustup. Each target installs the other packages that it needs.

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR = $(DESTDIR)$(PREFIX)/bin
SHAREDIR = $(DESTDIR)$(PREFIX)/share

# To build tsmig, and to run the lab.
BUILD_PACKAGES = ca-certificates gcc libc6-dev libvirt-dev pkg-config
# To look at manual pages, screens and completions as a user does, and for what a host's shell is asked.
CHECK_PACKAGES = man-db groff tmux zsh fish iproute2
LAB_PACKAGES = libvirt-clients iproute2 mmdebstrap openssh-client util-linux
# To run the playbook.
ANSIBLE_PACKAGES = ansible-core
# To look at the pages that it draws.
BROWSER_PACKAGES = chromium
# To make packages and look into them.
PACKAGE_PACKAGES = dpkg-dev rpm xz-utils

STATIC = RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target x86_64-unknown-linux-gnu

.PHONY: all rust rust-tools check-tools build guest lab demo test self-check bench bench-seeds check docs install build-packages lab-packages ansible-packages browser-packages package-packages packages check-packages

all: build

build: rust build-packages
	cargo build --release --locked

# The /init of the lab's guests, which is one static binary.
guest: rust build-packages
	$(STATIC) -p tsmig-lab-guest

lab: guest lab-packages
	cargo build --release --locked -p tsmig-lab

# Two hosts, four guests with live traffic, one evacuation; see lab/README.md.
demo: build lab
	target/release/tsmig-lab demo

# Everything, on real hosts too. `check` alone is for the inner loop. It builds the lab that the tests use.
test: check guest lab-packages ansible-packages browser-packages
	cargo test --workspace --locked --test browser
	# The one waits for its labs while the other compiles.
	$(MAKE) --jobs=2 self-check packages
	cargo test --workspace --locked --test lab
	$(MAKE) check-packages

# The lab checks itself. The whole workspace is named so that nothing is built again with fewer features.
self-check: guest lab-packages
	cargo test --workspace --locked --test self_check -- --ignored

check: rust-tools build-packages check-tools
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --workspace --locked

# tsmig's plans beside what virsh alone can do, on real hosts: an hour and a half on a quiet machine. Writes docs/bench and
# the README's table. `make bench SCENARIOS=balanced` runs one scenario and keeps the results of the others.
bench: lab
	cargo bench --locked --bench evacuations -- $(SCENARIOS)

# The same for hosts that nobody chose: guests drawn by seed. Some six minutes a seed, three times over; what docs/bench/seeds
# has is not run again, so it may be stopped at any time. `make bench-seeds SEEDS=127-132` does these only.
bench-seeds: lab
	cargo bench --locked --bench seeds -- $(SEEDS)

# The man pages and completions, from the command line's definition, the JSON Schemas, from what is printed and saved, and
# the screens that the tests keep.
docs: rust build-packages
	UPDATE_GENERATED=1 cargo test --locked --test generated --test terminal

# A .deb and an .rpm in target/. The tools that make them are kept under target/tools.
packages: build package-packages
	@scripts/install-tool cargo-deb 3.8.0 --no-default-features
	@scripts/install-tool cargo-generate-rpm 0.21.1
	target/tools/bin/cargo-deb --no-build --no-strip --quiet --output target/tsmig.deb
	target/tools/bin/cargo-generate-rpm --output target/tsmig.rpm

check-packages: packages
	scripts/check-packages target/tsmig.deb target/tsmig.rpm

install:
	@test -x target/release/tsmig || { echo "make install: run make build first" >&2; exit 1; }
	install -Dm755 target/release/tsmig $(BINDIR)/tsmig
	install -Dm644 -t $(SHAREDIR)/man/man1 man/*.1
	install -Dm644 -t $(SHAREDIR)/man/man5 man/*.5
	install -Dm644 -t $(SHAREDIR)/doc/tsmig/examples examples/config.toml
	install -Dm644 -t $(SHAREDIR)/tsmig/schemas schemas/*.json
	install -Dm644 completions/tsmig.bash $(SHAREDIR)/bash-completion/completions/tsmig
	install -Dm644 completions/_tsmig $(SHAREDIR)/zsh/site-functions/_tsmig
	install -Dm644 completions/tsmig.fish $(SHAREDIR)/fish/vendor_completions.d/tsmig.fish

rust:
	@scripts/ensure-rust

rust-tools:
	@scripts/ensure-rust rustfmt clippy

build-packages:
	@scripts/install-packages $(BUILD_PACKAGES)

check-tools:
	@scripts/install-packages $(CHECK_PACKAGES)

package-packages:
	@scripts/install-packages $(PACKAGE_PACKAGES)

ansible-packages:
	@scripts/install-packages $(ANSIBLE_PACKAGES)

browser-packages:
	@scripts/install-packages $(BROWSER_PACKAGES)

lab-packages:
	@scripts/install-packages $(LAB_PACKAGES)
