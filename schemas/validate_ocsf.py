#!/usr/bin/env python3
"""Checks alerts offline against the published OCSF schema.

usage: validate_ocsf.py [--strict] FILE... | -        (- reads standard input)

Input: one JSON event per line. Exit 0: all valid; 1: at least one is not (with --strict: or has a warning);
2: usage. The first run makes a virtual environment with two pinned packages under PHIWATCH_DEV_HOME.

Two layers. JSON Schema, made from the compiled OCSF schema (PyPI ocsf-json-schema) for the event's class, version and
profiles: unknown and missing attributes, types, enums, constraints. And what JSON Schema cannot say: type_uid is
class_uid * 100 + activity_id, a caption beside an id is that id's caption, observables name attributes that exist,
times are milliseconds; warnings for deprecated attributes and for recommended ones that are absent at the top.
"""
import fcntl
import json
import os
import shutil
import subprocess
import sys

PACKAGES = ["ocsf-json-schema==1.2.0", "jsonschema==4.26.0"]
CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
HOME = os.environ.get("PHIWATCH_DEV_HOME") or os.path.join(CACHE, "phiwatch-dev")
VENV = os.path.join(HOME, "venv-ocsf")


def enter_venv():
    """Goes on in the virtual environment, which is made first if it is not there."""
    if os.path.realpath(sys.prefix) == os.path.realpath(VENV):
        return
    python = os.path.join(VENV, "bin", "python")
    complete = os.path.join(VENV, ".complete")
    if not os.path.exists(complete):
        os.makedirs(HOME, exist_ok=True)
        with open(os.path.join(HOME, "venv-ocsf.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(complete):
                shutil.rmtree(VENV, ignore_errors=True)
                pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
                subprocess.check_call([sys.executable, "-m", "venv", VENV], stdout=sys.stderr)
                subprocess.check_call(pip + PACKAGES, stdout=sys.stderr)
                open(complete, "w").close()
    os.execv(python, [python, os.path.abspath(__file__), *sys.argv[1:]])


class Version:
    """The compiled schema of one version of OCSF, and validators made from it."""

    def __init__(self, version):
        from ocsf_json_schema import OcsfJsonSchemaEmbedded
        from ocsf_json_schema.loader import get_ocsf_schema

        self.raw = get_ocsf_schema(version=version)
        self.embedded = OcsfJsonSchemaEmbedded(self.raw)
        self.validators = {}

    def validator(self, name, profiles):
        import jsonschema

        key = (name, tuple(sorted(profiles)))
        if key not in self.validators:
            schema = self.embedded.get_class_schema(name, list(profiles))
            self.validators[key] = jsonschema.Draft202012Validator(schema)
        return self.validators[key]


VERSIONS = {}


def check(event):
    """Errors and warnings of one event."""
    metadata = event.get("metadata") if isinstance(event, dict) else None
    version = metadata.get("version") if isinstance(metadata, dict) else None
    if not isinstance(version, str):
        return ["metadata.version is absent"], []
    try:
        if version not in VERSIONS:
            VERSIONS[version] = Version(version)
        schema = VERSIONS[version]
        name = schema.embedded.lookup_class_name_from_uid(event.get("class_uid"))
    except (ValueError, KeyError, LookupError, OSError) as error:
        return [f"no such version or class: {error}"], []
    errors, warnings = [], []
    profiles = [p for p in metadata.get("profiles") or [] if p in schema.raw["profiles"]]
    if len(profiles) != len(metadata.get("profiles") or []):
        errors.append("metadata.profiles: unknown profile")
    for error in schema.validator(name, profiles).iter_errors(event):
        errors.append(f"{'.'.join(map(str, error.absolute_path)) or 'event'}: {error.message[:300]}")
    arithmetic(event, errors)
    spec = schema.raw["classes"][name]
    siblings(schema.raw, spec, event, "", errors, warnings)
    for key, attribute in spec["attributes"].items():
        wanted = attribute.get("profiles") or [p for p in [attribute.get("profile")] if p]
        is_in_force = not wanted or set(wanted) & set(profiles)
        if attribute.get("requirement") == "recommended" and key not in event and is_in_force:
            warnings.append(f"{key}: recommended, absent")
    return errors, warnings


def arithmetic(event, errors):
    """Relations between attributes."""
    class_uid, activity = event.get("class_uid"), event.get("activity_id")
    if isinstance(activity, int) and event.get("type_uid") != class_uid * 100 + activity:
        errors.append("type_uid: is not class_uid * 100 + activity_id")
    if event.get("category_uid") != class_uid // 1000:
        errors.append("category_uid: is not the category of the class")
    time = event.get("time")
    if not isinstance(time, int) or not 946_684_800_000 <= time <= 4_102_444_800_000:
        errors.append("time: no milliseconds since 1970 of this century")
    for i, observable in enumerate(event.get("observables") or []):
        if observable.get("name") and not resolves(event, observable["name"]):
            errors.append(f"observables.{i}.name: {observable['name']} is no attribute of the event")


def resolves(event, path):
    """Whether an attribute of that dotted path exists, through lists."""
    found = [event]
    for part in path.split("."):
        flat = [one for some in found for one in (some if isinstance(some, list) else [some])]
        found = [one[part] for one in flat if isinstance(one, dict) and part in one]
    return bool(found)


def siblings(raw, spec, value, at, errors, warnings):
    """Captions beside ids, and deprecated attributes, at all depths."""
    for key, inner in value.items():
        attribute = spec.get("attributes", {}).get(key)
        if attribute is None:
            continue
        path = f"{at}.{key}" if at else key
        if "@deprecated" in attribute:
            warnings.append(f"{path}: deprecated")
        sibling = attribute.get("sibling")
        caption = attribute.get("enum", {}).get(str(inner), {}).get("caption")
        if sibling and str(inner) == "99" and not value.get(sibling):
            errors.append(f"{path}: 99 needs a label in {sibling}")
        elif sibling in value and caption and str(inner) != "99" and value[sibling] != caption:
            errors.append(f"{path}: {sibling} is {value[sibling]!r}, the caption of {inner} is {caption!r}")
        if attribute.get("type") == "object_t" and attribute.get("object_type") in raw["objects"]:
            for one in inner if isinstance(inner, list) else [inner]:
                if isinstance(one, dict):
                    siblings(raw, raw["objects"][attribute["object_type"]], one, path, errors, warnings)


def main(arguments):
    strict = "--strict" in arguments
    files = [one for one in arguments if one != "--strict"]
    if not files or any(one.startswith("--") for one in files):
        print(__doc__, file=sys.stderr)
        return 2
    count = invalid = 0
    for name in files:
        with sys.stdin if name == "-" else open(name, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                count += 1
                try:
                    errors, warnings = check(json.loads(line))
                except json.JSONDecodeError as error:
                    errors, warnings = [f"no JSON: {error.msg}"], []
                invalid += bool(errors or (strict and warnings))
                for text in errors:
                    print(f"{name}:{number}: error: {text}")
                for text in warnings:
                    print(f"{name}:{number}: warning: {text}")
    print(f"{count} events, {invalid} invalid")
    return 1 if invalid else 0


if __name__ == "__main__":
    enter_venv()
    sys.exit(main(sys.argv[1:]))
