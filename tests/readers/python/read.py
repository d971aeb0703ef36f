"""PyYAML, python-dotenv and the standard library: `read.py DIRECTORY`."""

import io
import json
import pathlib
import sys
import urllib.parse

import dotenv
import yaml

directory = pathlib.Path(sys.argv[1])
failed = False


def check(reader, form, read, wanted=lambda value: {"BEFORE": "before", "KEY": value, "AFTER": "after"}):
    global failed
    files = sorted((directory / form).iterdir())
    for file in files:
        value = (directory / "expected" / file.name).read_bytes().decode()
        try:
            found = read(file)
        except Exception as error:
            found = error
        if found != wanted(value):
            failed = True
            print(f"{reader}: {form} {file.name}: {value[:40]!r} was read as {str(found)[:200]!r}")
    print(f"{reader}: {form}: {len(files)} read")


check("PyYAML", "yaml", lambda file: yaml.safe_load(file.read_bytes()))
check("PyYAML", "json", lambda file: yaml.safe_load(file.read_bytes()))
if yaml.__with_libyaml__:
    check("PyYAML with libyaml", "yaml", lambda file: yaml.load(file.read_bytes(), yaml.CSafeLoader))
check("Python's json", "json", lambda file: json.loads(file.read_bytes()))
check("python-dotenv", "dotenv", lambda file: dict(dotenv.dotenv_values(file)))
check("Python's urllib", "url", lambda file: urllib.parse.unquote(file.read_text("ascii"), errors="strict"), lambda value: value)
sys.exit(failed)
