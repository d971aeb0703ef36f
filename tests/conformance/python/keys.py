"""KeyClient and CryptographyClient."""

import hashlib
from datetime import datetime, timedelta, timezone

from azure.core.rest import HttpRequest
from azure.keyvault.keys import ApiVersion, JsonWebKey, KeyCurveName, KeyOperation, KeyRotationLifetimeAction, KeyRotationPolicyAction, KeyType
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

import clients
from harness import case, equal, refused

client = clients.keys()
SOON = {"_polling_interval": 0}
RSA = client.create_rsa_key("rsa", size=2048)
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def crypto(key):
    return CryptographyClient(key, clients.owner, verify_challenge_resource=False)


def remote(key):
    """A client that knows only the key's address: it asks the service for everything that it can."""
    return CryptographyClient(key.id, clients.owner, verify_challenge_resource=False)


def number(data):
    return int.from_bytes(data, "big")


def public_rsa(key):
    return rsa.RSAPublicNumbers(number(key.key.e), number(key.key.n)).public_key()


def digest(bits):
    return hashlib.new(f"sha{bits}", b"message").digest()


@case
def an_rsa_key_is_made_and_read():
    found = client.get_key("rsa")
    equal((found.key_type, len(found.key.n), found.key.e, found.key.d), (KeyType.rsa, 256, b"\x01\x00\x01", None))
    equal(set(found.key_operations), {"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"})
    equal(found.id, RSA.id)


@case
def an_rsa_key_of_3072_bits_is_made():
    equal(len(client.create_rsa_key("rsa-3072", size=3072).key.n), 384)


@case
def an_hsm_key_says_so():
    equal(client.create_ec_key("hsm", hardware_protected=True).key_type, KeyType.ec_hsm)


@case
def a_key_of_an_impossible_size_is_refused():
    refused(400, "BadParameter", "key_size", client.create_rsa_key, "small", size=1024)


@case
def keys_on_every_curve_are_made():
    for curve, size in [(KeyCurveName.p_256, 32), (KeyCurveName.p_384, 48), (KeyCurveName.p_521, 66)]:
        key = client.create_ec_key(f"ec-{curve.value}", curve=curve).key
        equal((key.crv, len(key.x), len(key.y)), (curve, size, size))


@case
def a_key_keeps_everything_that_it_is_given():
    end = datetime(2050, 1, 2, tzinfo=timezone.utc)
    client.create_ec_key("full-key", key_operations=[KeyOperation.verify], tags={"a": "b"}, expires_on=end, enabled=False)
    found = client.get_key("full-key")
    equal((found.key_operations, found.properties.tags, found.properties.expires_on, found.properties.enabled), (["verify"], {"a": "b"}, end, False))
    equal(found.properties.exportable, False)


@case
def a_key_is_updated():
    client.create_ec_key("updated-key")
    found = client.update_key_properties("updated-key", key_operations=["sign"], tags={"k": "v"})
    equal((found.key_operations, found.properties.tags), (["sign"], {"k": "v"}))


@case
def versions_of_a_key_are_listed():
    made = {client.create_ec_key("versioned-key").properties.version for _ in range(3)}
    equal({item.version for item in client.list_properties_of_key_versions("versioned-key")}, made)


@case
def keys_are_listed_in_pages():
    pages = [[item.name for item in page] for page in client.list_properties_of_keys(max_page_size=3).by_page()]
    assert len(pages) > 1 and "rsa" in sum(pages, []), pages


@case
def a_key_that_is_not_there_is_said_so():
    refused(404, "KeyNotFound", "A key with (name/id) nope was not found in this key vault.", client.get_key, "nope")


@case
def a_stranger_makes_no_key():
    refused(403, "Forbidden", "Action: 'Microsoft.KeyVault/vaults/keys/create/action'", clients.keys(clients.stranger).create_ec_key, "x")


@case
def a_key_is_deleted_recovered_deleted_and_purged():
    made = client.create_ec_key("mortal-key")
    equal(client.begin_delete_key("mortal-key", **SOON).result().recovery_id.split("/")[-2:], ["deletedkeys", "mortal-key"])
    refused(404, "KeyNotFound", "mortal-key", client.get_key, "mortal-key")
    refused(409, "Conflict", "Key mortal-key is currently in a deleted but recoverable state", client.create_ec_key, "mortal-key")
    equal(client.get_deleted_key("mortal-key").key.x, made.key.x)
    equal(client.begin_recover_deleted_key("mortal-key", **SOON).result().id, made.id)
    client.begin_delete_key("mortal-key", **SOON).wait()
    assert "mortal-key" in [item.name for item in client.list_deleted_keys()]
    client.purge_deleted_key("mortal-key")
    refused(404, "KeyNotFound", "Deleted Key not found: mortal-key", client.get_deleted_key, "mortal-key")


@case
def a_backup_brings_the_private_key_back():
    made = client.create_rsa_key("saved-key", size=2048)
    secret = crypto(made).encrypt(EncryptionAlgorithm.rsa_oaep, b"secret").ciphertext
    blob = client.backup_key("saved-key")
    client.begin_delete_key("saved-key", **SOON).wait()
    client.purge_deleted_key("saved-key")
    restored = client.restore_key_backup(blob)
    equal(restored.id, made.id)
    equal(crypto(restored).decrypt(EncryptionAlgorithm.rsa_oaep, secret).plaintext, b"secret")
    refused(409, "Conflict", "There was a conflict restoring the key", client.restore_key_backup, blob)


@case
def what_is_encrypted_here_is_decrypted_there():
    for name in ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"]:
        algorithm = EncryptionAlgorithm(name)
        encrypted = crypto(RSA).encrypt(algorithm, b"secret").ciphertext
        equal(crypto(RSA).decrypt(algorithm, encrypted).plaintext, b"secret")


@case
def what_an_independent_library_encrypts_is_decrypted():
    pad = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    encrypted = public_rsa(RSA).encrypt(b"secret", pad)
    equal(crypto(RSA).decrypt(EncryptionAlgorithm.rsa_oaep_256, encrypted).plaintext, b"secret")


@case
def a_wrapped_key_is_unwrapped():
    for name in ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"]:
        algorithm = KeyWrapAlgorithm(name)
        wrapped = crypto(RSA).wrap_key(algorithm, b"k" * 32).encrypted_key
        equal(crypto(RSA).unwrap_key(algorithm, wrapped).key, b"k" * 32)


@case
def what_is_not_encrypted_with_the_key_is_refused():
    refused(400, "BadParameter", "not encrypted with this key", crypto(RSA).decrypt, EncryptionAlgorithm.rsa_oaep, b"x" * 256)


@case
def rsa_signatures_are_good_for_an_independent_library():
    for bits, algorithm in HASHES.items():
        rs = crypto(RSA).sign(SignatureAlgorithm(f"RS{bits}"), digest(bits)).signature
        public_rsa(RSA).verify(rs, digest(bits), padding.PKCS1v15(), utils.Prehashed(algorithm))
        ps = crypto(RSA).sign(SignatureAlgorithm(f"PS{bits}"), digest(bits)).signature
        public_rsa(RSA).verify(ps, digest(bits), padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), utils.Prehashed(algorithm))


@case
def ec_signatures_are_good_for_an_independent_library():
    for bits, crv, curve in [("256", "P-256", ec.SECP256R1()), ("384", "P-384", ec.SECP384R1()), ("512", "P-521", ec.SECP521R1())]:
        key = client.create_ec_key(f"signing-{bits}", curve=KeyCurveName(crv))
        signature = crypto(key).sign(SignatureAlgorithm(f"ES{bits}"), digest(bits)).signature
        half = len(signature) // 2
        public = ec.EllipticCurvePublicNumbers(number(key.key.x), number(key.key.y), curve).public_key()
        encoded = utils.encode_dss_signature(number(signature[:half]), number(signature[half:]))
        public.verify(encoded, digest(bits), ec.ECDSA(utils.Prehashed(HASHES[bits])))


@case
def signatures_are_verified():
    for key, name in [(RSA, "RS256"), (RSA, "PS512"), (client.create_ec_key("verifying"), "ES256")]:
        algorithm = SignatureAlgorithm(name)
        signature = crypto(key).sign(algorithm, digest(name[2:])).signature
        assert crypto(key).verify(algorithm, digest(name[2:]), signature).is_valid, name
        assert not crypto(key).verify(algorithm, b"x" * len(digest(name[2:])), signature).is_valid, name


@case
def a_client_that_knows_only_the_address_of_a_key_can_use_it():
    signature = remote(RSA).sign(SignatureAlgorithm.rs256, digest("256")).signature
    assert remote(RSA).verify(SignatureAlgorithm.rs256, digest("256"), signature).is_valid


@case
def a_digest_of_another_length_is_refused():
    refused(400, "BadParameter", "digest", crypto(RSA).sign, SignatureAlgorithm.rs256, b"short")


def refused_to_sign(name, algorithm, status, text, inner=None):
    """The service's own answer: the client would not even ask."""
    request = HttpRequest("POST", f"/keys/{name}//sign?api-version=7.4", json={"alg": algorithm, "value": "A" * 43})
    response = client.send_request(request)
    error = response.json()["error"]
    assert response.status_code == status and text in error["message"], (response.status_code, error)
    equal(error.get("innererror", {}).get("code"), inner)


@case
def an_algorithm_of_another_kind_of_key_is_refused():
    client.create_ec_key("no-rsa")
    refused_to_sign("no-rsa", "RS256", 400, "this algorithm is not for this key")
    refused_to_sign("no-rsa", "XX256", 400, "alg")


@case
def an_operation_that_the_key_may_not_do_is_refused():
    refused_to_sign("seeded-key", "ES256", 403, "Operation sign is not permitted on this key.", "KeyOperationForbidden")


@case
def a_disabled_key_does_nothing():
    client.create_ec_key("disabled-key", enabled=False)
    refused_to_sign("disabled-key", "ES256", 403, "Operation sign is not allowed on a disabled key.", "KeyDisabled")


@case
def an_expired_key_decrypts_and_does_not_sign():
    past = datetime.now(timezone.utc) - timedelta(days=1)
    key = client.create_rsa_key("expired-key", size=2048, expires_on=past)
    pad = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    equal(crypto(key).decrypt(EncryptionAlgorithm.rsa_oaep, public_rsa(key).encrypt(b"old", pad)).plaintext, b"old")
    refused_to_sign("expired-key", "RS256", 403, "Operation sign is not allowed on an expired key.", "KeyExpired")


@case
def an_ec_key_is_imported():
    own = ec.generate_private_key(ec.SECP384R1())
    numbers = own.private_numbers()
    jwk = JsonWebKey(
        kty="EC",
        crv="P-384",
        x=numbers.public_numbers.x.to_bytes(48, "big"),
        y=numbers.public_numbers.y.to_bytes(48, "big"),
        d=numbers.private_value.to_bytes(48, "big"),
    )
    key = client.import_key("imported-ec", jwk)
    signature = crypto(key).sign(SignatureAlgorithm.es384, digest("384")).signature
    encoded = utils.encode_dss_signature(number(signature[:48]), number(signature[48:]))
    own.public_key().verify(encoded, digest("384"), ec.ECDSA(utils.Prehashed(hashes.SHA384())))


@case
def an_rsa_key_is_imported():
    own = rsa.generate_private_key(65537, 2048)
    numbers = own.private_numbers()
    parts = {"n": numbers.public_numbers.n, "e": 65537, "d": numbers.d, "p": numbers.p, "q": numbers.q, "dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
    jwk = JsonWebKey(kty="RSA", **{name: value.to_bytes((value.bit_length() + 7) // 8, "big") for name, value in parts.items()})
    key = client.import_key("imported-rsa", jwk)
    signature = crypto(key).sign(SignatureAlgorithm.ps256, digest("256")).signature
    own.public_key().verify(signature, digest("256"), padding.PSS(padding.MGF1(hashes.SHA256()), 32), utils.Prehashed(hashes.SHA256()))


@case
def a_jwk_without_a_private_part_is_not_imported():
    refused(400, "BadParameter", "private key", client.import_key, "no-private", JsonWebKey(kty="EC", crv="P-256", x=b"x" * 32, y=b"y" * 32))


@case
def a_key_is_rotated():
    first = client.create_ec_key("rotated", tags={"a": "b"})
    second = client.rotate_key("rotated")
    equal(second.properties.tags, {"a": "b"})
    assert first.id != second.id and first.key.x != second.key.x
    equal(client.get_key("rotated").id, second.id)


@case
def a_rotation_policy_is_kept():
    client.create_ec_key("policy-key")
    equal(client.get_key_rotation_policy("policy-key").lifetime_actions[0].action, KeyRotationPolicyAction.notify)
    policy = client.get_key_rotation_policy("policy-key")
    actions = [KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P2M")]
    client.update_key_rotation_policy("policy-key", policy, expires_in="P90D", lifetime_actions=actions)
    found = client.get_key_rotation_policy("policy-key")
    equal((found.expires_in, found.lifetime_actions[0].time_after_create), ("P90D", "P2M"))


@case
def every_documented_version_of_the_interface_is_served_for_keys():
    for version in ApiVersion:
        equal(clients.keys(api_version=version).get_key("rsa").id, RSA.id)
