"""SecretClient."""

from datetime import datetime, timedelta, timezone

import clients
from harness import case, equal, refused

client = clients.secrets()
SOON = {"_polling_interval": 0}


def names(items):
    return [item.name for item in items]


@case
def a_secret_is_set_and_read():
    made = client.set_secret("plain", "value")
    found = client.get_secret("plain")
    equal((found.value, found.id, found.properties.version), ("value", made.id, made.properties.version))
    equal(len(found.properties.version), 32)


@case
def a_secret_keeps_everything_that_it_is_given():
    start, end = datetime(2020, 1, 2, tzinfo=timezone.utc), datetime(2050, 1, 2, tzinfo=timezone.utc)
    client.set_secret("full", "v", content_type="text/plain", tags={"a": "b"}, not_before=start, expires_on=end, enabled=True)
    found = client.get_secret("full").properties
    equal((found.content_type, found.tags, found.not_before, found.expires_on, found.enabled), ("text/plain", {"a": "b"}, start, end, True))
    equal((found.recovery_level, found.recoverable_days), ("Recoverable+Purgeable", 90))
    assert datetime.now(timezone.utc) - found.created_on < timedelta(minutes=1)


@case
def an_empty_value_is_a_value():
    client.set_secret("empty", "")
    equal(client.get_secret("empty").value, "")


@case
def text_comes_back_as_it_went():
    text = "Zoë ✓ \u0000 \r\n\t\"\\ 😀" + "x" * 5000
    client.set_secret("text", text)
    equal(client.get_secret("text").value, text)


@case
def an_old_version_stays_readable():
    first = client.set_secret("versions", "one")
    client.set_secret("versions", "two")
    equal(client.get_secret("versions", first.properties.version).value, "one")
    equal(client.get_secret("versions").value, "two")


@case
def names_have_no_case():
    client.set_secret("MixedCase", "v")
    equal(client.get_secret("mixedcase").name, "MixedCase")


@case
def versions_are_listed():
    made = {client.set_secret("listed-versions", str(number)).properties.version for number in range(3)}
    equal({item.version for item in client.list_properties_of_secret_versions("listed-versions")}, made)


@case
def versions_of_nothing_are_an_empty_list():
    equal(list(client.list_properties_of_secret_versions("nothing-there")), [])


@case
def a_list_of_many_pages_is_whole():
    made = {client.set_secret(f"many-{number}", "v").name for number in range(30)}
    assert made <= set(names(client.list_properties_of_secrets()))


@case
def a_list_comes_in_pages_of_the_size_asked_for():
    pages = [list(page) for page in client.list_properties_of_secrets(max_page_size=7).by_page()]
    assert len(pages) > 3 and all(len(page) == 7 for page in pages[:-1]), [len(page) for page in pages]


@case
def a_list_shows_no_versions_and_no_values():
    item = next(item for item in client.list_properties_of_secrets() if item.name == "plain")
    equal((item.version, hasattr(item, "value")), (None, False))


@case
def an_update_changes_what_it_names():
    made = client.set_secret("updated", "v", content_type="a", tags={"k": "1"})
    updated = client.update_secret_properties("updated", made.properties.version, content_type="b", enabled=False)
    equal((updated.content_type, updated.enabled, updated.tags), ("b", False, {"k": "1"}))


@case
def a_disabled_secret_is_not_given():
    error = refused(403, "Forbidden", "Operation get is not allowed on a disabled secret.", client.get_secret, "old-token")
    equal(error.error.innererror["code"], "SecretDisabled")


@case
def a_secret_that_is_not_there_is_said_so():
    refused(404, "SecretNotFound", "A secret with (name/id) nope was not found in this key vault.", client.get_secret, "nope")


@case
def a_version_that_is_not_there_is_said_so():
    version = "0" * 32
    refused(404, "SecretNotFound", f"(name/id) plain/{version} was not found", client.get_secret, "plain", version)


@case
def a_wrong_name_is_refused():
    refused(400, "BadParameter", "The request URI contains an invalid name: my_secret", client.get_secret, "my_secret")


@case
def a_value_that_is_too_long_is_refused():
    refused(400, "BadParameter", "value", client.set_secret, "long", "x" * 25601)


@case
def a_stranger_reads_nothing():
    error = refused(403, "Forbidden", "Caller is not authorized to perform action on resource.", clients.secrets(clients.stranger).get_secret, "plain")
    equal(error.error.innererror["code"], "ForbiddenByRbac")


@case
def a_secret_is_deleted_recovered_deleted_and_purged():
    client.set_secret("mortal", "v")
    deleted = client.begin_delete_secret("mortal", **SOON).result()
    equal(deleted.recovery_id.split("/")[-2:], ["deletedsecrets", "mortal"])
    equal((deleted.scheduled_purge_date - deleted.deleted_date).days, 90)
    refused(404, "SecretNotFound", "mortal", client.get_secret, "mortal")
    equal(client.get_deleted_secret("mortal").name, "mortal")
    refused(409, "Conflict", "is currently in a deleted but recoverable state", client.set_secret, "mortal", "w")
    equal(client.begin_recover_deleted_secret("mortal", **SOON).result().name, "mortal")
    equal(client.get_secret("mortal").value, "v")
    client.begin_delete_secret("mortal", **SOON).wait()
    assert "mortal" in names(client.list_deleted_secrets())
    client.purge_deleted_secret("mortal")
    refused(404, "SecretNotFound", "Deleted Secret not found: mortal", client.get_deleted_secret, "mortal")


@case
def a_backup_brings_all_versions_back():
    first = client.set_secret("saved", "one")
    client.set_secret("saved", "two", tags={"a": "b"})
    blob = client.backup_secret("saved")
    refused(409, "Conflict", "There was a conflict restoring the secret 'https://", client.restore_secret_backup, blob)
    client.begin_delete_secret("saved", **SOON).wait()
    client.purge_deleted_secret("saved")
    equal(client.restore_secret_backup(blob).tags, {"a": "b"})
    equal((client.get_secret("saved").value, client.get_secret("saved", first.properties.version).value), ("two", "one"))


@case
def a_blob_that_is_no_backup_is_refused():
    refused(400, "BadParameter", "value", client.restore_secret_backup, b"nonsense")


@case
def every_documented_version_of_the_interface_is_served():
    for version in ["2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"]:
        equal(clients.secrets(api_version=version).get_secret("plain").value, "value")
