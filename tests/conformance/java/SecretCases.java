import com.azure.core.credential.TokenCredential;
import com.azure.core.util.polling.SyncPoller;
import com.azure.security.keyvault.secrets.SecretClient;
import com.azure.security.keyvault.secrets.SecretClientBuilder;
import com.azure.security.keyvault.secrets.models.DeletedSecret;
import com.azure.security.keyvault.secrets.models.KeyVaultSecret;
import com.azure.security.keyvault.secrets.models.SecretProperties;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

final class SecretCases {
    private static final SecretClient CLIENT = client(IdentityCases.owner());

    static SecretClient client(TokenCredential credential) {
        return new SecretClientBuilder().vaultUrl(Harness.VAULT).credential(credential).disableChallengeResourceVerification().buildClient();
    }

    static KeyVaultSecret read(String name) {
        return CLIENT.getSecret(name);
    }

    static <T, U> T done(SyncPoller<T, U> poller) {
        return poller.setPollInterval(Duration.ofMillis(5)).waitForCompletion(Duration.ofSeconds(60)).getValue();
    }

    private static DeletedSecret delete(String name) {
        return done(CLIENT.beginDeleteSecret(name));
    }

    private static List<String> names(Stream<SecretProperties> items) {
        return items.map(SecretProperties::getName).toList();
    }

    static void register() {
        Harness.test("a secret is set and read", () -> {
            KeyVaultSecret made = CLIENT.setSecret("plain", "value");
            KeyVaultSecret found = CLIENT.getSecret("plain");
            Harness.equal(List.of(found.getValue(), found.getId(), found.getProperties().getVersion().length()), List.of("value", made.getId(), 32));
        });
        Harness.test("a secret keeps everything that it is given", () -> {
            OffsetDateTime from = OffsetDateTime.of(2020, 1, 2, 3, 4, 5, 0, ZoneOffset.UTC);
            SecretProperties given = new SecretProperties().setContentType("text/plain").setTags(Map.of("a", "b")).setNotBefore(from).setExpiresOn(from.plusYears(80));
            CLIENT.setSecret(new KeyVaultSecret("full", "v").setProperties(given));
            SecretProperties found = CLIENT.getSecret("full").getProperties();
            Harness.equal(List.of(found.getContentType(), found.getTags(), found.getNotBefore(), found.getExpiresOn(), found.getRecoverableDays()),
                List.of("text/plain", Map.of("a", "b"), from, from.plusYears(80), 90));
        });
        Harness.test("an empty value is a value", () -> {
            CLIENT.setSecret("empty", "");
            Harness.equal(CLIENT.getSecret("empty").getValue(), "");
        });
        Harness.test("a value of any characters comes back", () -> {
            String value = "läßt grüßen\n\t\"\\ \u2028 🔑";
            CLIENT.setSecret("unicode", value);
            Harness.equal(CLIENT.getSecret("unicode").getValue(), value);
        });
        Harness.test("an old version stays readable, and versions are listed", () -> {
            String first = CLIENT.setSecret("versions", "one").getProperties().getVersion();
            CLIENT.setSecret("versions", "two");
            Harness.equal(List.of(CLIENT.getSecret("versions", first).getValue(), CLIENT.getSecret("versions").getValue()), List.of("one", "two"));
            Harness.equal(CLIENT.listPropertiesOfSecretVersions("versions").stream().count(), 2L);
        });
        Harness.test("a list of many pages is whole", () -> {
            for (int index = 0; index < 30; index++) {
                CLIENT.setSecret("many-" + index, "v");
            }
            Harness.equal(names(CLIENT.listPropertiesOfSecrets().stream()).stream().filter(name -> name.startsWith("many-")).count(), 30L);
        });
        Harness.test("an update changes what it names", () -> {
            SecretProperties properties = CLIENT.setSecret("updated", "v").getProperties();
            SecretProperties updated = CLIENT.updateSecretProperties(properties.setContentType("b").setEnabled(false));
            Harness.equal(List.of(updated.getContentType(), updated.isEnabled()), List.of("b", false));
        });
        refusals();
        lifeAndDeath();
    }

    private static void refusals() {
        Harness.test("a disabled secret is not given",
            () -> Harness.refused(403, "Forbidden", "Operation get is not allowed on a disabled secret.", () -> CLIENT.getSecret("old-token")));
        Harness.test("a secret that is not there is said so", () -> Harness.refused(404, "SecretNotFound",
            "A secret with (name/id) nope was not found in this key vault.", () -> CLIENT.getSecret("nope")));
        Harness.test("a stranger reads nothing", () -> Harness.refused(403, "Forbidden", "Caller is not authorized to perform action on resource.",
            () -> client(IdentityCases.clientSecret(Harness.STRANGER, "stranger-secret")).getSecret("plain")));
        Harness.test("a value that is too long is refused",
            () -> Harness.refused(400, "BadParameter", "25600", () -> CLIENT.setSecret("long", "x".repeat(25_601))));
        Harness.test("a body of megabytes is refused in words",
            () -> Harness.refused(413, "RequestBodyTooLarge", "longer than 1048576 bytes", () -> CLIENT.setSecret("long", "x".repeat(3_000_000))));
    }

    private static void lifeAndDeath() {
        Harness.test("a secret is deleted, recovered, deleted and purged", () -> {
            CLIENT.setSecret("mortal", "v");
            Harness.contains(delete("mortal").getRecoveryId(), "/deletedsecrets/mortal");
            Harness.refused(404, "SecretNotFound", "mortal", () -> CLIENT.getSecret("mortal"));
            Harness.refused(409, "Conflict", "is currently in a deleted but recoverable state", () -> CLIENT.setSecret("mortal", "w"));
            done(CLIENT.beginRecoverDeletedSecret("mortal"));
            Harness.equal(CLIENT.getSecret("mortal").getValue(), "v");
            delete("mortal");
            Harness.equal(CLIENT.listDeletedSecrets().stream().filter(item -> item.getName().equals("mortal")).count(), 1L);
            CLIENT.purgeDeletedSecret("mortal");
            Harness.refused(404, "SecretNotFound", "Deleted Secret not found: mortal", () -> CLIENT.getDeletedSecret("mortal"));
        });
        Harness.test("a backup brings all versions back", () -> {
            String first = CLIENT.setSecret("saved", "one").getProperties().getVersion();
            CLIENT.setSecret("saved", "two");
            byte[] blob = CLIENT.backupSecret("saved");
            Harness.refused(409, "Conflict", "There was a conflict restoring the secret 'https://", () -> CLIENT.restoreSecretBackup(blob));
            delete("saved");
            CLIENT.purgeDeletedSecret("saved");
            CLIENT.restoreSecretBackup(blob);
            Harness.equal(List.of(CLIENT.getSecret("saved", first).getValue(), CLIENT.getSecret("saved").getValue()), List.of("one", "two"));
        });
    }
}
