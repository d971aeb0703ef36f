import com.azure.security.keyvault.certificates.CertificateClient;
import com.azure.security.keyvault.certificates.CertificateClientBuilder;
import com.azure.security.keyvault.certificates.models.CertificateContact;
import com.azure.security.keyvault.certificates.models.CertificateContentType;
import com.azure.security.keyvault.certificates.models.CertificateIssuer;
import com.azure.security.keyvault.certificates.models.CertificateKeyCurveName;
import com.azure.security.keyvault.certificates.models.CertificateKeyType;
import com.azure.security.keyvault.certificates.models.CertificatePolicy;
import com.azure.security.keyvault.certificates.models.ImportCertificateOptions;
import com.azure.security.keyvault.certificates.models.KeyVaultCertificateWithPolicy;
import com.azure.security.keyvault.certificates.models.SubjectAlternativeNames;
import com.azure.security.keyvault.secrets.models.KeyVaultSecret;
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.util.List;
import java.util.Map;

final class CertificateCases {
    private static final CertificateClient CLIENT = new CertificateClientBuilder().vaultUrl(Harness.VAULT).credential(IdentityCases.owner())
        .disableChallengeResourceVerification().buildClient();

    private static CertificatePolicy selfSigned(String name) {
        return new CertificatePolicy("Self", "CN=" + name, new SubjectAlternativeNames().setDnsNames(List.of("web.example.test")))
            .setKeyType(CertificateKeyType.EC).setKeyCurveName(CertificateKeyCurveName.P_256).setValidityInMonths(3);
    }

    private static KeyVaultCertificateWithPolicy create(String name) {
        var poller = CLIENT.beginCreateCertificate(name, selfSigned(name)).setPollInterval(Duration.ofMillis(5));
        poller.waitForCompletion(Duration.ofSeconds(60));
        return poller.getFinalResult();
    }

    private static X509Certificate parsed(byte[] der) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(der));
    }

    static void register() {
        Harness.test("a self-signed certificate is made, with its secret and its key", () -> {
            KeyVaultCertificateWithPolicy made = create("web");
            X509Certificate certificate = parsed(made.getCer());
            certificate.verify(certificate.getPublicKey());
            Harness.equal(certificate.getSubjectX500Principal().getName(), "CN=web");
            Harness.equal(Duration.between(made.getProperties().getNotBefore(), made.getProperties().getCreatedOn()), Duration.ofMinutes(10));
            KeyVaultSecret secret = SecretCases.read("web");
            Harness.equal(secret.getProperties().getContentType(), "application/x-pkcs12");
            Harness.equal(List.of(secret.getProperties().getVersion(), KeyCases.read("web").getProperties().getVersion()),
                List.of(made.getProperties().getVersion(), made.getProperties().getVersion()));
        });
        Harness.test("its policy is read and changed", () -> {
            CertificatePolicy policy = CLIENT.getCertificatePolicy("web");
            Harness.equal(List.of(policy.getSubject(), policy.getIssuerName()), List.of("CN=web", "Self"));
            CLIENT.updateCertificatePolicy("web", policy.setValidityInMonths(6));
            Harness.equal(CLIENT.getCertificatePolicy("web").getValidityInMonths(), 6);
        });
        Harness.test("a chain in PEM is imported", () -> {
            byte[] pem = Files.readAllBytes(Path.of(Harness.FIXTURES, "pfx", "kv-rsa-chain3.expected.pem"));
            var options = new ImportCertificateOptions("imported-certificate", pem).setPolicy(new CertificatePolicy("Unknown", "CN=x").setContentType(CertificateContentType.PEM));
            Harness.equal(parsed(CLIENT.importCertificate(options).getCer()).getBasicConstraints(), -1);
            Harness.contains(SecretCases.read("imported-certificate").getValue(), "-----BEGIN PRIVATE KEY-----");
        });
        Harness.test("what is no certificate is not imported", () -> Harness.refused(400, "BadParameter",
            "The specified X.509 certificate content can not be read.", () -> CLIENT.importCertificate(new ImportCertificateOptions("broken", new byte[3]))));
        Harness.test("a request waits for its issuer and is deleted", () -> {
            CLIENT.beginCreateCertificate("waiting", new CertificatePolicy("Unknown", "CN=waiting")).poll();
            Harness.equal(CLIENT.getCertificateOperation("waiting").poll().getValue().getStatus(), "inProgress");
            CLIENT.deleteCertificateOperation("waiting");
            Harness.refused(404, "PendingCertificateNotFound", "waiting", () -> CLIENT.deleteCertificateOperation("waiting"));
        });
        administration();
    }

    private static void administration() {
        Harness.test("certificates and their versions are listed", () -> {
            create("web");
            List<String> names = CLIENT.listPropertiesOfCertificates().stream().map(item -> item.getName()).toList();
            Harness.equal(names.containsAll(List.of("web", "seeded-certificate", "chained-certificate")), true);
            Harness.equal(CLIENT.listPropertiesOfCertificateVersions("web").stream().count(), 2L);
        });
        Harness.test("a certificate is updated", () -> {
            var properties = CLIENT.getCertificate("web").getProperties().setTags(Map.of("team", "web"));
            Harness.equal(CLIENT.updateCertificateProperties(properties).getProperties().getTags(), Map.of("team", "web"));
        });
        Harness.test("contacts and issuers are kept", () -> {
            CLIENT.setContacts(List.of(new CertificateContact().setEmail("a@example.test"))).stream().toList();
            Harness.equal(CLIENT.listContacts().stream().map(CertificateContact::getEmail).toList(), List.of("a@example.test"));
            CLIENT.deleteContacts().stream().toList();
            CLIENT.createIssuer(new CertificateIssuer("ours", "Test"));
            Harness.equal(CLIENT.getIssuer("ours").getProvider(), "Test");
            CLIENT.deleteIssuer("ours");
        });
        Harness.test("a certificate that is not there is said so",
            () -> Harness.refused(404, "CertificateNotFound", "nope", () -> CLIENT.getCertificate("nope")));
        Harness.test("a certificate is backed up, deleted with its key and secret, purged and restored", () -> {
            KeyVaultCertificateWithPolicy made = create("saved-certificate");
            byte[] blob = CLIENT.backupCertificate("saved-certificate");
            SecretCases.done(CLIENT.beginDeleteCertificate("saved-certificate"));
            Harness.refused(404, "SecretNotFound", "saved-certificate", () -> SecretCases.read("saved-certificate"));
            SecretCases.done(CLIENT.beginRecoverDeletedCertificate("saved-certificate"));
            SecretCases.done(CLIENT.beginDeleteCertificate("saved-certificate"));
            CLIENT.purgeDeletedCertificate("saved-certificate");
            KeyVaultCertificateWithPolicy restored = CLIENT.restoreCertificateBackup(blob);
            Harness.equal(List.of(restored.getId(), new String(restored.getCer(), "ISO-8859-1")), List.of(made.getId(), new String(made.getCer(), "ISO-8859-1")));
        });
    }
}
