//! The page of a report in a real browser: headless Chromium lays it out, a script measures what it drew.
#![allow(clippy::unwrap_used, reason = "a test that unwraps None or Err fails, as it should")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The report of a real evacuation, which is also an example for users.
const REPORT: &str = "examples/reports/balanced.json";

/// Writes what the browser drew into the page, as JSON: boxes are left, top, right, bottom in pixels.
const MEASURE: &str = r##"<script>
addEventListener("load", () => {
  const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const seen = e => e.getClientRects().length > 0;
  const rows = [...document.querySelectorAll(".row.domain")].map(row => ({
    name: row.querySelector(".name").firstChild.textContent,
    track: box(row.querySelector("svg")),
    bars: [...row.querySelectorAll("rect")].map(bar => ({ kind: bar.getAttribute("class"), box: box(bar) })),
  }));
  const plots = [...document.querySelectorAll(".plot")].map(plot => ({
    track: box(plot),
    capacity: box(plot.querySelector(".capacity")),
    layers: ["guests", "first", "post"].map(kind => box(plot.querySelector("." + kind))),
  }));
  const words = [...document.querySelectorAll("h1, h2, p, dt, dd, li, .name, .axis text, th, td")];
  const result = {
    width: innerWidth,
    needed: document.documentElement.scrollWidth,
    rows, plots,
    words: words.filter(seen).map(e => ({ text: e.textContent, box: box(e) })),
    fetched: performance.getEntriesByType("resource").length,
    background: getComputedStyle(document.body).backgroundColor,
  };
  const pre = document.createElement("pre");
  pre.id = "measured";
  pre.textContent = JSON.stringify(result);
  parent.document.body.append(pre);
});
</script>"##;

fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    fs::create_dir_all(&directory).unwrap();
    directory.join(name)
}

/// The page of a report, as `tsmig report --html` writes it.
fn page(report: &Path, name: &str) -> String {
    let html = scratch(name);
    let status = Command::new(env!("CARGO_BIN_EXE_tsmig")).arg("report").arg(report).arg("--html").arg(&html).status();
    assert!(status.unwrap().success());
    fs::read_to_string(html).unwrap()
}

/// What the browser draws of a page in a window of that width.
fn measured(page: &str, name: &str, width: u32, scheme: &str) -> Value {
    // The page forbids scripts, and whatever is not in it: the one that measures takes that line out.
    let (before, rest) = page.split_once("<meta http-equiv=\"Content-Security-Policy\"").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let inner = format!("{before}{}", after.replace("</head>", &format!("{MEASURE}</head>")));
    // In a frame: a window of its own is never narrower than 500 pixels.
    let frame = inner.replace('&', "&amp;").replace('"', "&quot;");
    let html = scratch(&format!("{name}-{width}-{scheme}.html"));
    fs::write(
        &html,
        format!(
            "<!doctype html><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\"><body>\
             <iframe style=\"border:0;width:{width}px;height:900px\" srcdoc=\"{frame}\"></iframe>"
        ),
    )
    .unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"])
        .arg(format!("--blink-settings=preferredColorScheme={}", if scheme == "dark" { 0 } else { 1 }))
        .arg(format!("--window-size={},1000", width + 100))
        .arg(format!("--user-data-dir={}", scratch(&format!("{name}.profile")).display()))
        .arg(format!("file://{}", html.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = dom.split_once("<pre id=\"measured\">").unwrap_or_else(|| {
        panic!("nothing was measured: {}", String::from_utf8_lossy(&output.stderr));
    });
    let text = rest.split_once("</pre>").unwrap().0;
    serde_json::from_str(&text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")).unwrap()
}

/// Left, top, right, bottom.
fn corners(value: &Value) -> [f64; 4] {
    let numbers: Vec<f64> = value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// All boxes of one kind in a row, as one.
fn bar(row: &Value, kind: &str) -> [f64; 4] {
    let bars = row["bars"].as_array().unwrap().iter().filter(|bar| bar["kind"] == kind).map(|bar| corners(&bar["box"]));
    bars.reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]).unwrap()
}

fn report() -> Value {
    serde_json::from_str(&fs::read_to_string(REPORT).unwrap()).unwrap()
}

fn check_bars(report: &Value, drawn: &Value) {
    let rows = drawn["rows"].as_array().unwrap();
    let domains = report["history"]["domains"].as_array().unwrap();
    assert_eq!(rows.len(), domains.len(), "a row for each domain");
    // The same scale on all rows: pixels a second, from the first.
    let first = corners(&rows[0]["track"]);
    let pixels = (bar(&rows[0], "predicted")[2] - first[0]) / domains[0]["predicted_end_seconds"].as_f64().unwrap();
    for (row, domain) in rows.iter().zip(domains) {
        assert_eq!(row["name"], domain["domain"]);
        let track = corners(&row["track"]);
        let phase = |wanted: &str| {
            let phases = domain["phases"].as_array().unwrap();
            phases.iter().find(|p| p["phase"] == wanted).map(|p| p["at_seconds"].as_f64().unwrap())
        };
        let post_copy = phase("post-copy");
        let (kind, from, to) = match post_copy {
            Some(from) => ("post", from, phase("checking").unwrap()),
            None => ("first", phase("pre-copy").unwrap(), domain["passes"][0]["at_seconds"].as_f64().unwrap()),
        };
        let box_ = bar(row, kind);
        for (edge, seconds) in [(box_[0], from), (box_[2], to)] {
            let wanted = track[0] + seconds * pixels;
            assert!((edge - wanted).abs() < 1.5, "{}: {kind} at {edge}, not {wanted}", row["name"]);
        }
        assert!(box_[0] >= track[0] && box_[2] <= track[2] + 0.5, "{}: the bar is within its track", row["name"]);
        assert!(bar(row, "predicted")[1] >= box_[3], "{}: the prediction is below the bar", row["name"]);
    }
    // Plots share the rows' axis.
    for plot in drawn["plots"].as_array().unwrap() {
        let track = corners(&plot["track"]);
        assert!(
            (track[0] - first[0]).abs() < 1.5 && (track[2] - first[2]).abs() < 1.5,
            "one axis: {track:?} {first:?}"
        );
    }
}

fn check_plots(drawn: &Value) {
    let plots = drawn["plots"].as_array().unwrap();
    assert_eq!(plots.len(), 2, "one for each direction");
    for plot in plots {
        let (track, capacity) = (corners(&plot["track"]), corners(&plot["capacity"]));
        assert!(capacity[1] > track[1] && capacity[1] < track[1] + 30.0, "the capacity is near the top: {capacity:?}");
        for layer in plot["layers"].as_array().unwrap().iter().map(corners) {
            assert!(layer[1] >= track[1] - 1.0 && layer[3] <= track[3] + 1.0, "within the plot: {layer:?} {track:?}");
            assert!(layer[2] - layer[0] > 1.0, "something is drawn: {layer:?}");
        }
        // Memory filled the link for a while: the evacuation was recorded on links that were the bottleneck.
        let [_, first, post] = [0, 1, 2].map(|i| corners(&plot["layers"][i]));
        for memory in [first, post] {
            assert!(memory[1] < capacity[1] + 15.0, "{memory:?} reaches {capacity:?}");
        }
    }
}

fn check_words(drawn: &Value) {
    let words: Vec<_> =
        drawn["words"].as_array().unwrap().iter().map(|w| (w["text"].as_str().unwrap(), corners(&w["box"]))).collect();
    assert!(words.len() > 30);
    for (i, (one, a)) in words.iter().enumerate() {
        for (other, b) in &words[i + 1..] {
            let apart = a[2] <= b[0] + 1.0 || b[2] <= a[0] + 1.0 || a[3] <= b[1] + 1.0 || b[3] <= a[1] + 1.0;
            assert!(apart, "{one:?} {a:?} and {other:?} {b:?} are on top of each other");
        }
    }
}

#[test]
fn the_page_draws_what_the_report_says_on_wide_and_narrow_screens() {
    let (report, page) = (report(), page(Path::new(REPORT), "page.html"));
    for width in [1280, 400] {
        let drawn = measured(&page, "page", width, "light");
        assert_eq!(drawn["width"], width);
        assert!(
            drawn["needed"].as_u64().unwrap() <= width.into(),
            "nothing is cut off at {width}: {}",
            drawn["needed"]
        );
        assert_eq!(drawn["fetched"], 0, "the page needs no other file");
        check_bars(&report, &drawn);
        check_plots(&drawn);
        check_words(&drawn);
    }
}

#[test]
fn the_page_is_dark_where_the_reader_wants_it_dark() {
    let page = page(Path::new(REPORT), "scheme.html");
    assert_eq!(measured(&page, "scheme", 1280, "light")["background"], "rgb(255, 255, 255)");
    assert_eq!(measured(&page, "scheme", 1280, "dark")["background"], "rgb(20, 25, 31)");
}

#[test]
fn names_are_text_and_never_markup() {
    let mut report = report();
    let name = "<img src=http://x.example/y onerror=alert(1)>&\"";
    report["history"]["domains"][0]["domain"] = name.into();
    report["domains"][0]["domain"] = name.into();
    report["source"] = "<script>alert(1)</script>".into();
    let path = scratch("hostile.json");
    fs::write(&path, report.to_string()).unwrap();
    let drawn = measured(&page(&path, "hostile.html"), "hostile", 400, "light");
    assert_eq!(drawn["rows"][0]["name"], name);
    assert_eq!(drawn["fetched"], 0);
    assert!(drawn["needed"].as_u64().unwrap() <= 400, "a long name wraps");
}

#[test]
fn a_report_of_forty_domains_without_an_end_in_sight_is_drawn_too() {
    let mut report = report();
    let (domain, history) = (report["domains"][0].clone(), report["history"]["domains"][0].clone());
    let numbered = |value: &Value| -> Value {
        let number = |i| {
            let mut value = value.clone();
            value["domain"] = format!("guest-{i}").into();
            value["uuid"] = format!("uuid-{i}").into();
            value
        };
        (0..40).map(number).collect()
    };
    report["domains"] = numbered(&domain);
    report["history"]["domains"] = numbered(&history);
    report["predicted_seconds"] = Value::Null;
    for history in report["history"]["domains"].as_array_mut().unwrap() {
        history["predicted_end_seconds"] = Value::Null;
    }
    let path = scratch("forty.json");
    fs::write(&path, report.to_string()).unwrap();
    let drawn = measured(&page(&path, "forty.html"), "forty", 1280, "light");
    assert_eq!(drawn["rows"].as_array().unwrap().len(), 40);
    check_words(&drawn);
}
