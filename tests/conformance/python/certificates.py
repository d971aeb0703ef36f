"""CertificateClient, and the key and the secret that every certificate has beside it."""

import base64
import hashlib

from azure.keyvault.certificates import (
    AdministratorContact,
    ApiVersion,
    CertificateContact,
    CertificatePolicy,
    CertificatePolicyAction,
    LifetimeAction,
    WellKnownIssuerNames,
)
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from cryptography.hazmat.primitives.serialization import pkcs12

import clients
from harness import FIXTURES, case, equal, refused

client, secrets, keys = clients.certificates(), clients.secrets(), clients.keys()
SOON = {"_polling_interval": 0}
EC = {"key_type": "EC", "key_curve_name": "P-256"}
DER, RAW = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo


def policy(issuer="Self", subject="CN=web", **options):
    return CertificatePolicy(issuer, subject=subject, **{**EC, **options})


def create(name, given=None, **options):
    return client.begin_create_certificate(name, given or policy(), **SOON, **options).result()


def fixture(name):
    with open(f"{FIXTURES}/pfx/{name}", "rb") as file:
        return file.read()


def pfx(name):
    """The content of a certificate's secret, read as Microsoft's documentation does it."""
    secret = secrets.get_secret(name)
    equal(secret.properties.content_type, "application/x-pkcs12")
    return pkcs12.load_key_and_certificates(base64.b64decode(secret.value), None)


def public(key):
    return key.public_bytes(DER, RAW)


@case
def a_self_signed_certificate_is_made():
    made = create("made")
    parsed = x509.load_der_x509_certificate(bytes(made.cer))
    parsed.verify_directly_issued_by(parsed)
    equal((parsed.subject.rfc4514_string(), parsed.issuer), ("CN=web", parsed.subject))
    equal(made.properties.x509_thumbprint, hashlib.sha1(bytes(made.cer)).digest())
    equal((made.properties.not_before, made.properties.expires_on), (parsed.not_valid_before_utc, parsed.not_valid_after_utc))
    equal((made.name, made.properties.enabled), ("made", True))


@case
def its_policy_has_key_vaults_defaults():
    found = create("defaults", CertificatePolicy("Self", subject="CN=defaults")).policy
    equal((found.key_type, found.key_size, found.exportable, found.reuse_key), ("RSA", 2048, True, False))
    equal((found.content_type, found.validity_in_months, found.issuer_name), ("application/x-pkcs12", 12, "Self"))
    equal((found.enhanced_key_usage, found.key_usage), (["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"], ["digitalSignature", "keyEncipherment"]))
    equal((found.lifetime_actions[0].action, found.lifetime_actions[0].lifetime_percentage), ("AutoRenew", 80))


@case
def it_says_everything_that_the_policy_asks_for():
    asked = policy(
        subject="CN=web, O=Contoso, C=DE",
        san_dns_names=["a.example.test", "b.example.test"],
        san_emails=["a@example.test"],
        san_user_principal_names=["user@example.test"],
        key_usage=["digitalSignature", "keyAgreement"],
        enhanced_key_usage=["1.3.6.1.5.5.7.3.2"],
        validity_in_months=24,
    )
    made = create("asked", asked)
    parsed = x509.load_der_x509_certificate(bytes(made.cer))
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    equal(names.get_values_for_type(x509.DNSName), ["a.example.test", "b.example.test"])
    equal(names.get_values_for_type(x509.RFC822Name), ["a@example.test"])
    equal([name.type_id.dotted_string for name in names.get_values_for_type(x509.OtherName)], ["1.3.6.1.4.1.311.20.2.3"])
    equal({item.oid._name for item in parsed.subject}, {"commonName", "organizationName", "countryName"})
    usage = parsed.extensions.get_extension_for_class(x509.KeyUsage).value
    equal((usage.digital_signature, usage.key_agreement, usage.key_encipherment), (True, True, False))
    equal([item.dotted_string for item in parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value], ["1.3.6.1.5.5.7.3.2"])
    equal(parsed.not_valid_after_utc.year - parsed.not_valid_before_utc.year, 2)
    equal(made.policy.san_dns_names, ["a.example.test", "b.example.test"])


@case
def keys_of_every_kind_are_made_for_it():
    for curve, kind in [("P-256", ec.SECP256R1), ("P-384", ec.SECP384R1), ("P-521", ec.SECP521R1)]:
        made = create(f"on-{curve}", policy(key_curve_name=curve))
        parsed = x509.load_der_x509_certificate(bytes(made.cer))
        parsed.verify_directly_issued_by(parsed)
        assert isinstance(parsed.public_key().curve, kind), curve
    parsed = x509.load_der_x509_certificate(bytes(create("on-rsa", CertificatePolicy("Self", subject="CN=r", key_size=3072)).cer))
    equal(parsed.public_key().key_size, 3072)


@case
def its_secret_is_a_pfx_with_key_and_certificate():
    for name, given in [("pfx-ec", policy()), ("pfx-rsa", CertificatePolicy("Self", subject="CN=rsa"))]:
        made = create(name, given)
        key, certificate, others = pfx(name)
        equal((public(key.public_key()), certificate.public_bytes(DER), others), (public(certificate.public_key()), bytes(made.cer), []))


@case
def its_secret_is_pem_where_the_policy_says_so():
    made = create("pem", policy(content_type="application/x-pem-file"))
    text = secrets.get_secret("pem").value
    assert text.startswith("-----BEGIN PRIVATE KEY-----\n"), text[:40]
    key = serialization.load_pem_private_key(text.encode(), None)
    certificate = x509.load_pem_x509_certificate(text.encode())
    equal((public(key.public_key()), certificate.public_bytes(DER)), (public(certificate.public_key()), bytes(made.cer)))


@case
def a_key_that_is_not_exportable_stays_in_the_vault():
    made = create("kept", policy(exportable=False))
    key, certificate, others = pfx("kept")
    equal((key, [*filter(None, [certificate]), *others][0].public_bytes(DER)), (None, bytes(made.cer)))
    create("kept-pem", policy(exportable=False, content_type="application/x-pem-file"))
    assert "PRIVATE KEY" not in secrets.get_secret("kept-pem").value


@case
def secret_and_key_have_its_name_and_version_and_are_managed():
    made = create("linked")
    secret, key = secrets.get_secret("linked"), keys.get_key("linked")
    equal((secret.id, key.id), (made.secret_id, made.key_id))
    equal((secret.properties.version, key.properties.version), (made.properties.version,) * 2)
    equal((secret.properties.key_id, key.properties.managed), (made.key_id, True))
    equal((secret.properties.expires_on, key.properties.not_before), (made.properties.expires_on, made.properties.not_before))


@case
def its_key_signs():
    made = create("signer")
    digest = hashlib.sha256(b"message").digest()
    signature = CryptographyClient(made.key_id, clients.owner, verify_challenge_resource=False).sign(SignatureAlgorithm.es256, digest).signature
    encoded = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    x509.load_der_x509_certificate(bytes(made.cer)).public_key().verify(encoded, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


@case
def what_belongs_to_a_certificate_is_not_deleted_alone():
    create("family")
    refused(403, "Forbidden", "belongs to a certificate", secrets.begin_delete_secret, "family", **SOON)
    refused(403, "Forbidden", "belongs to a certificate", keys.begin_delete_key, "family", **SOON)
    refused(403, "Forbidden", "belongs to a certificate", secrets.set_secret, "family", "x")


@case
def a_new_version_has_a_new_key_unless_it_is_to_be_reused():
    first, second = create("renewed"), create("renewed")
    assert first.properties.version != second.properties.version
    third = create("renewed", policy(reuse_key=True))
    found = [public(x509.load_der_x509_certificate(bytes(each.cer)).public_key()) for each in (first, second, third)]
    assert found[0] != found[1] and found[1] == found[2]
    equal(bytes(client.get_certificate_version("renewed", first.properties.version).cer), bytes(first.cer))
    equal({item.version for item in client.list_properties_of_certificate_versions("renewed")}, {each.properties.version for each in (first, second, third)})


@case
def a_pfx_is_imported():
    made = client.import_certificate("imported", base64.b64decode(fixture("kv-rsa-selfsigned.b64")))
    equal((made.policy.subject, made.policy.issuer_name, made.policy.content_type), ("CN=self.example.test", "Unknown", "application/x-pkcs12"))
    equal((made.policy.key_type, made.policy.key_size, made.policy.san_dns_names), ("RSA", 2048, ["self.example.test"]))
    equal(pfx("imported")[1].public_bytes(DER), bytes(made.cer))


@case
def a_pfx_with_a_password_is_imported():
    own = ec.generate_private_key(ec.SECP256R1())
    leaf = pfx("made")[1]
    builder = x509.CertificateBuilder(leaf.issuer, leaf.subject, own.public_key(), 7, leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    certificate = builder.sign(own, hashes.SHA256())
    encryption = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2000)
    encryption = encryption.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1()).build(b"Pass word 1")
    content = pkcs12.serialize_key_and_certificates(b"name", own, certificate, None, encryption)
    made = client.import_certificate("with-password", content, password="Pass word 1")
    equal(bytes(made.cer), certificate.public_bytes(DER))
    refused(400, "BadParameter", "the password is another one", client.import_certificate, "with-password", content, password="guess")


@case
def pem_is_imported_with_its_chain():
    for name, leaf in [("kv-rsa-chain3", "CN=app.example.test"), ("kv-ec-chain3", None)]:
        text = fixture(f"{name}.expected.pem")
        made = client.import_certificate(f"pem-{name}", text, policy=CertificatePolicy(content_type="application/x-pem-file"))
        assert leaf in (made.policy.subject, None)
        equal(secrets.get_secret(f"pem-{name}").value.encode(), text)


@case
def pem_without_a_policy_stays_pem():
    client.import_certificate("only-pem", fixture("kv-ec-p256.expected.pem"))
    equal(secrets.get_secret("only-pem").properties.content_type, "application/x-pem-file")


@case
def a_chain_in_any_order_comes_back_leaf_first():
    client.import_certificate("unordered", base64.b64decode(fixture("kv-rsa-chain3-root-first.b64")))
    key, leaf, others = pfx("unordered")
    equal(public(key.public_key()), public(leaf.public_key()))
    leaf.verify_directly_issued_by(others[0])
    others[0].verify_directly_issued_by(others[1])


@case
def what_cannot_be_imported_is_refused():
    refused(400, "BadParameter", "can not be read", client.import_certificate, "bad", b"no certificate")
    refused(400, "BadParameter", "triple DES", client.import_certificate, "bad", base64.b64decode(fixture("ossl-aes256-pbes2.b64")))
    only = fixture("kv-ec-p256.expected.pem").split(b"-----END PRIVATE KEY-----\n")[1]
    refused(400, "BadParameter", "there is no private key", client.import_certificate, "bad", only)


@case
def a_certificate_is_updated_and_takes_its_companions_along():
    made = create("updated-certificate")
    changed = client.update_certificate_properties("updated-certificate", made.properties.version, enabled=False, tags={"a": "b"})
    equal((changed.properties.enabled, changed.properties.tags), (False, {"a": "b"}))
    refused(403, "Forbidden", "disabled secret", secrets.get_secret, "updated-certificate")
    equal(keys.get_key("updated-certificate").properties.enabled, False)
    equal(client.get_certificate("updated-certificate").properties.enabled, False)


@case
def a_policy_is_updated():
    create("with-policy")
    found = client.get_certificate_policy("with-policy")
    found._validity_in_months = 6
    found._lifetime_actions = [LifetimeAction(CertificatePolicyAction.email_contacts, days_before_expiry=10)]
    changed = client.update_certificate_policy("with-policy", found)
    equal((changed.validity_in_months, changed.lifetime_actions[0].days_before_expiry, changed.subject), (6, 10, "CN=web"))
    equal(client.get_certificate_policy("with-policy").validity_in_months, 6)


@case
def certificates_are_listed_in_pages():
    pages = [[item.name for item in page] for page in client.list_properties_of_certificates(max_page_size=4).by_page()]
    assert len(pages) > 1 and {"made", "seeded-certificate"} <= set(sum(pages, [])), pages


@case
def certificates_of_the_configuration_are_there():
    found = client.get_certificate("seeded-certificate")
    equal((found.policy.subject, found.policy.san_dns_names, found.policy.content_type), ("CN=seeded, O=Contoso", ["seeded.example.test"], "application/x-pem-file"))
    equal(secrets.get_secret("chained-certificate").value.encode(), fixture("kv-rsa-chain3.expected.pem"))


@case
def a_certificate_that_is_not_there_is_said_so():
    refused(404, "CertificateNotFound", "A certificate with (name/id) nope was not found in this key vault.", client.get_certificate, "nope")


@case
def a_stranger_makes_no_certificate():
    begin = clients.certificates(clients.stranger).begin_create_certificate
    refused(403, "Forbidden", "Action: 'Microsoft.KeyVault/vaults/certificates/create/action'", begin, "x", policy())


@case
def a_policy_without_a_name_is_refused():
    refused(400, "BadParameter", "subject", client.begin_create_certificate, "nameless", CertificatePolicy("Self", subject="web"))


@case
def a_certificate_is_deleted_recovered_deleted_and_purged_with_its_companions():
    made = create("mortal-certificate")
    deleted = client.begin_delete_certificate("mortal-certificate", **SOON).result()
    equal((deleted.id, deleted.recovery_id.split("/")[-2]), (made.id, "deletedcertificates"))
    refused(404, "SecretNotFound", "mortal-certificate", secrets.get_secret, "mortal-certificate")
    refused(404, "KeyNotFound", "mortal-certificate", keys.get_key, "mortal-certificate")
    refused(409, "Conflict", "deleted but recoverable", client.begin_create_certificate, "mortal-certificate", policy())
    equal(client.begin_recover_deleted_certificate("mortal-certificate", **SOON).result().id, made.id)
    equal(secrets.get_secret("mortal-certificate").id, made.secret_id)
    client.begin_delete_certificate("mortal-certificate", **SOON).wait()
    assert "mortal-certificate" in [item.name for item in client.list_deleted_certificates()]
    client.purge_deleted_certificate("mortal-certificate")
    refused(404, "CertificateNotFound", "Deleted Certificate not found: mortal-certificate", client.get_deleted_certificate, "mortal-certificate")
    refused(404, "SecretNotFound", "Deleted Secret not found", secrets.get_deleted_secret, "mortal-certificate")


@case
def a_backup_brings_certificate_key_and_secret_back():
    made = create("saved-certificate")
    value = secrets.get_secret("saved-certificate").value
    blob = client.backup_certificate("saved-certificate")
    client.begin_delete_certificate("saved-certificate", **SOON).wait()
    client.purge_deleted_certificate("saved-certificate")
    restored = client.restore_certificate_backup(blob)
    equal((restored.id, bytes(restored.cer), restored.policy.subject), (made.id, bytes(made.cer), "CN=web"))
    equal((secrets.get_secret("saved-certificate").value, keys.get_key("saved-certificate").id), (value, made.key_id))
    refused(409, "Conflict", "There was a conflict restoring the certificate", client.restore_certificate_backup, blob)


def authority():
    """A key and a certificate of a CA outside the vault."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = pfx("made")[1]
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "outside")])
    return key, name, leaf.not_valid_before_utc, leaf.not_valid_after_utc


@case
def a_request_is_signed_outside_and_merged():
    poller = client.begin_create_certificate("merged", policy(WellKnownIssuerNames.unknown, subject="CN=merged"), **SOON)
    operation = poller.result() if poller.done() else client.get_certificate_operation("merged")
    equal((operation.status, operation.issuer_name), ("inProgress", "Unknown"))
    request = x509.load_der_x509_csr(bytes(operation.csr))
    assert request.is_signature_valid
    key, name, start, end = authority()
    signed = x509.CertificateBuilder(name, request.subject, request.public_key(), 9, start, end).sign(key, hashes.SHA256())
    root = x509.CertificateBuilder(name, name, key.public_key(), 1, start, end).sign(key, hashes.SHA256())
    wrong = x509.CertificateBuilder(name, request.subject, key.public_key(), 9, start, end).sign(key, hashes.SHA256())
    refused(400, "BadParameter", "not for the key", client.merge_certificate, "merged", [wrong.public_bytes(DER)])
    merged = client.merge_certificate("merged", [each.public_bytes(DER) for each in (signed, root)], tags={"a": "b"})
    equal((bytes(merged.cer), merged.properties.tags, merged.properties.enabled), (signed.public_bytes(DER), {"a": "b"}, True))
    equal([each.public_bytes(DER) for each in pfx("merged")[2]], [root.public_bytes(DER)])
    equal(client.get_certificate_operation("merged").status, "completed")


@case
def a_request_that_waits_is_cancelled_and_deleted():
    client.begin_create_certificate("cancelled", policy(WellKnownIssuerNames.unknown), **SOON)
    refused(409, "Forbidden", "while a pending key vault certificate's status is inProgress.", client.begin_create_certificate, "cancelled", policy())
    found = client.get_certificate("cancelled")
    equal((found.properties.enabled, found.cer, found.key_id), (False, None, None))
    equal(client.cancel_certificate_operation("cancelled").cancellation_requested, True)
    equal(client.get_certificate_operation("cancelled").status, "cancelled")
    refused(400, "BadParameter", "not in progress", client.cancel_certificate_operation, "cancelled")
    equal(client.delete_certificate_operation("cancelled").status, "cancelled")
    refused(404, "PendingCertificateNotFound", "Pending certificate not found: cancelled", client.get_certificate_operation, "cancelled")
    equal(create("cancelled").properties.enabled, True)


@case
def a_request_to_an_issuer_is_not_merged_while_it_is_in_progress():
    client.begin_create_certificate("at-issuer", policy("Contoso"), **SOON)
    refused(403, "Forbidden", "Merge is forbidden on pending object created with issuer : Contoso", client.merge_certificate, "at-issuer", [bytes(create("other").cer)])


@case
def contacts_are_kept():
    refused(404, "CertificateContactsNotFound", "", client.get_contacts)
    client.set_contacts([CertificateContact(email="a@example.test", name="A", phone="1")])
    equal([contact.email for contact in client.get_contacts()], ["a@example.test"])
    equal([contact.name for contact in client.delete_contacts()], ["A"])
    refused(404, "CertificateContactsNotFound", "", client.get_contacts)


@case
def issuers_are_kept():
    administrators = [AdministratorContact(first_name="A", last_name="B", email="a@example.test", phone="1")]
    made = client.create_issuer("issuer", "Test", account_id="account", password="secret", organization_id="org", admin_contacts=administrators)
    equal((made.name, made.provider, made.account_id, made.password, made.enabled), ("issuer", "Test", "account", None, True))
    equal(client.get_issuer("issuer").admin_contacts[0].email, "a@example.test")
    equal(client.update_issuer("issuer", account_id="other", enabled=False).account_id, "other")
    equal([item.name for item in client.list_properties_of_issuers()], ["issuer"])
    client.delete_issuer("issuer")
    refused(404, "CertificateIssuerNotFound", "", client.get_issuer, "issuer")


@case
def every_documented_version_of_the_interface_is_served_for_certificates():
    for version in ApiVersion:
        equal(clients.certificates(api_version=version).get_certificate("made").name, "made")
