#!/usr/bin/python
# -*- coding: utf-8 -*-
"""Empties a KVM host, or brings back what an earlier run moved, by `tsmig evacuate`."""

DOCUMENTATION = r"""
module: tsmig_evacuate
short_description: Empty a KVM host over libvirt, live
description:
  - Runs C(tsmig evacuate) where the task runs, which is most often the control node (C(delegate_to) localhost).
  - A host that has no domain to move is evacuated already, and nothing changes.
  - In check mode it makes the plan (C(--dry-run)), moves nothing, and says whether something would be moved.
  - The task fails where tsmig's exit status is not 0, so that nothing is done to a host that is not empty. What did move
    is in the report then, and C(changed) says so.
options:
  source:
    description: The host to empty, as tsmig takes it, that is, a name of its configuration, a name to reach by ssh, or a libvirt URI.
    type: str
    required: true
  destination:
    description: The host that takes the domains.
    type: str
    required: true
  report:
    description: File for the report of a run that moved something; a run that moves nothing leaves it as it is.
    type: path
  from_report:
    description: Bring back exactly what the run of this report moved.
    type: path
  config:
    description: A configuration file for tsmig beside the usual ones.
    type: path
  arguments:
    description: Further options of C(tsmig evacuate), one word each.
    type: list
    elements: str
    default: []
  executable:
    description: The tsmig to run.
    type: str
    default: tsmig
"""

EXAMPLES = r"""
- name: Empty host-a
  tsmig_evacuate:
    source: host-a
    destination: host-b
    report: /var/lib/tsmig/host-a.json
  delegate_to: localhost

- name: Bring back what came from it
  tsmig_evacuate:
    source: host-b
    destination: host-a
    from_report: /var/lib/tsmig/host-a.json
  delegate_to: localhost

- name: Leave the test machines, and take at most half of the link
  tsmig_evacuate:
    source: host-a
    destination: host-b
    arguments: [--exclude, "test-*", --bandwidth, 5Gbit]
  delegate_to: localhost
"""

RETURN = r"""
plan:
  description: The plan, by the schema tsmig.plan/2.
  returned: in check mode
  type: dict
report:
  description: What became of each domain, by the schema tsmig.report/2.
  returned: where the run came to a report
  type: dict
rc:
  description: The exit status of tsmig.
  returned: always
  type: int
"""

import json
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule


def last_object(text):
    """The last line as JSON, or None where it is none."""
    try:
        value = json.loads(text.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def problem(stderr):
    """What tsmig said went wrong."""
    lines = stderr.strip().splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("error: ")), None)
    return "\n".join(lines[start:])[len("error: "):] if start is not None else "\n".join(lines)


def unmoved(domains):
    """Each domain that is not at the destination, with its reason."""
    return "; ".join("%s: %s" % (d["domain"], d["error"]) for d in domains if d["error"])


def check(module, command):
    """What a run would do."""
    rc, stdout, stderr = module.run_command(command + ["--dry-run"])
    plan = last_object(stdout)
    if rc != 0 or plan is None:
        module.fail_json(msg=problem(stderr) or "tsmig printed no plan", rc=rc, plan=plan)
    module.exit_json(changed=bool(plan["migrations"]), plan=plan, rc=rc)


def run(module, command):
    """Runs it, and keeps the report where something was moved."""
    kept, path = module.params["report"], None
    if kept:
        try:
            descriptor, path = tempfile.mkstemp(prefix=".tsmig-", dir=os.path.dirname(os.path.abspath(kept)))
        except OSError as error:
            module.fail_json(msg="%s can't be written: %s" % (kept, error))
        os.close(descriptor)
        module.add_cleanup_file(path)
        command = command + ["--report", path]
    rc, stdout, stderr = module.run_command(command)
    report = last_object(stdout)
    if report is None or report.get("event") != "report":
        module.fail_json(msg=problem(stderr) or "tsmig came to no report", rc=rc)
    changed = any(domain["outcome"] != "remains" for domain in report["domains"])
    if path and changed:
        module.atomic_move(path, kept)
    if rc != 0:
        message = "%s is %s: %s" % (report["source"], report["outcome"], unmoved(report["domains"]))
        module.fail_json(msg=message, changed=changed, report=report, rc=rc)
    module.exit_json(changed=changed, report=report, rc=rc)


def main():
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "required": True},
            "destination": {"type": "str", "required": True},
            "report": {"type": "path"},
            "from_report": {"type": "path"},
            "config": {"type": "path"},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "executable": {"type": "str", "default": "tsmig"},
        },
        supports_check_mode=True,
    )
    given = module.params
    command = [module.get_bin_path(given["executable"], required=True), "evacuate", given["source"], given["destination"]]
    command += ["--output", "json"]
    for option in ("config", "from_report"):
        if given[option]:
            command += ["--" + option.replace("_", "-"), given[option]]
    command += given["arguments"]
    check(module, command) if module.check_mode else run(module, command)


if __name__ == "__main__":
    main()
