import com.azure.security.keyvault.keys.KeyClient;
import com.azure.security.keyvault.keys.KeyClientBuilder;
import com.azure.security.keyvault.keys.cryptography.CryptographyClient;
import com.azure.security.keyvault.keys.cryptography.CryptographyClientBuilder;
import com.azure.security.keyvault.keys.cryptography.models.EncryptionAlgorithm;
import com.azure.security.keyvault.keys.cryptography.models.KeyWrapAlgorithm;
import com.azure.security.keyvault.keys.cryptography.models.SignatureAlgorithm;
import com.azure.security.keyvault.keys.models.CreateEcKeyOptions;
import com.azure.security.keyvault.keys.models.CreateRsaKeyOptions;
import com.azure.security.keyvault.keys.models.JsonWebKey;
import com.azure.security.keyvault.keys.models.KeyCurveName;
import com.azure.security.keyvault.keys.models.KeyOperation;
import com.azure.security.keyvault.keys.models.KeyRotationPolicy;
import com.azure.security.keyvault.keys.models.KeyVaultKey;
import java.nio.charset.StandardCharsets;
import java.security.KeyPairGenerator;
import java.security.MessageDigest;
import java.security.Security;
import java.security.spec.ECGenParameterSpec;
import java.util.List;

final class KeyCases {
    private static final KeyClient CLIENT =
        new KeyClientBuilder().vaultUrl(Harness.VAULT).credential(IdentityCases.owner()).disableChallengeResourceVerification().buildClient();
    private static final byte[] MESSAGE = "message".getBytes(StandardCharsets.UTF_8);

    static KeyVaultKey read(String name) {
        return CLIENT.getKey(name);
    }

    /** What needs the public key only, this client does itself: so the two check each other. */
    private static CryptographyClient using(KeyVaultKey key) {
        return new CryptographyClientBuilder().keyIdentifier(key.getId()).credential(IdentityCases.owner()).disableChallengeResourceVerification().buildClient();
    }

    private static KeyVaultKey curve(String name, KeyCurveName curve) {
        return CLIENT.createEcKey(new CreateEcKeyOptions(name).setCurveName(curve));
    }

    private static void signs(KeyVaultKey key, SignatureAlgorithm algorithm, String hash) throws Exception {
        byte[] digest = MessageDigest.getInstance(hash).digest(MESSAGE);
        byte[] signature = using(key).sign(algorithm, digest).getSignature();
        Harness.equal(using(key).verify(algorithm, digest, signature).isValid(), true);
        digest[0] ^= 1;
        Harness.equal(using(key).verify(algorithm, digest, signature).isValid(), false);
    }

    static void register() {
        Harness.test("an RSA key is made and read", () -> {
            KeyVaultKey made = CLIENT.createRsaKey(new CreateRsaKeyOptions("rsa").setKeySize(2048));
            KeyVaultKey found = CLIENT.getKey("rsa");
            Harness.equal(List.of(found.getId(), found.getKey().getN().length), List.of(made.getId(), 256));
            Harness.equal(found.getKey().getE(), new byte[] {1, 0, 1});
        });
        for (SignatureAlgorithm algorithm : List.of(SignatureAlgorithm.RS256, SignatureAlgorithm.PS256)) {
            Harness.test(algorithm + " signs and verifies", () -> signs(CLIENT.getKey("rsa"), algorithm, "SHA-256"));
        }
        Harness.test("ES256 signs and verifies", () -> signs(curve("p256", KeyCurveName.P_256), SignatureAlgorithm.ES256, "SHA-256"));
        Harness.test("ES384 signs and verifies", () -> signs(curve("p384", KeyCurveName.P_384), SignatureAlgorithm.ES384, "SHA-384"));
        for (EncryptionAlgorithm algorithm : List.of(EncryptionAlgorithm.RSA1_5, EncryptionAlgorithm.RSA_OAEP, EncryptionAlgorithm.RSA_OAEP_256)) {
            Harness.test(algorithm + " encrypts and decrypts", () -> {
                CryptographyClient key = using(CLIENT.getKey("rsa"));
                Harness.equal(key.decrypt(algorithm, key.encrypt(algorithm, MESSAGE).getCipherText()).getPlainText(), MESSAGE);
            });
        }
        for (KeyWrapAlgorithm algorithm : List.of(KeyWrapAlgorithm.RSA_OAEP, KeyWrapAlgorithm.RSA_OAEP_256)) {
            Harness.test(algorithm + " wraps and unwraps", () -> {
                CryptographyClient key = using(CLIENT.getKey("rsa"));
                Harness.equal(key.unwrapKey(algorithm, key.wrapKey(algorithm, new byte[32]).getEncryptedKey()).getKey(), new byte[32]);
            });
        }
        Harness.test("a public exponent is honoured", () -> {
            KeyVaultKey made = CLIENT.createRsaKey(new CreateRsaKeyOptions("three").setPublicExponent(3));
            Harness.equal(made.getKey().getE(), new byte[] {3});
        });
        Harness.test("an imported key signs", () -> {
            KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
            generator.initialize(new ECGenParameterSpec("secp256r1"));
            JsonWebKey key = JsonWebKey.fromEc(generator.generateKeyPair(), Security.getProvider("SunEC"), List.of(KeyOperation.SIGN, KeyOperation.VERIFY));
            signs(CLIENT.importKey("imported", key), SignatureAlgorithm.ES256, "SHA-256");
        });
        administration();
    }

    private static void administration() {
        Harness.test("a rotated key is another version", () -> {
            KeyVaultKey made = curve("rotated", KeyCurveName.P_256);
            Harness.equal(CLIENT.rotateKey("rotated").getId().equals(made.getId()), false);
            Harness.equal(CLIENT.listPropertiesOfKeyVersions("rotated").stream().count(), 2L);
        });
        Harness.test("a rotation policy is kept", () -> {
            curve("policy", KeyCurveName.P_256);
            CLIENT.updateKeyRotationPolicy("policy", new KeyRotationPolicy().setExpiresIn("P90D"));
            Harness.equal(CLIENT.getKeyRotationPolicy("policy").getExpiresIn(), "P90D");
        });
        Harness.test("a key is updated", () -> {
            KeyVaultKey made = curve("updated", KeyCurveName.P_256);
            Harness.equal(CLIENT.updateKeyProperties(made.getProperties().setEnabled(false)).getProperties().isEnabled(), false);
        });
        Harness.test("keys are listed", () -> {
            List<String> names = CLIENT.listPropertiesOfKeys().stream().map(item -> item.getName()).toList();
            Harness.equal(names.containsAll(List.of("rsa", "seeded-key")), true);
        });
        Harness.test("a key that is not there is said so", () -> Harness.refused(404, "KeyNotFound", "nope", () -> CLIENT.getKey("nope")));
        Harness.test("a key is backed up, deleted, recovered, purged and restored", () -> {
            KeyVaultKey made = curve("saved", KeyCurveName.P_256);
            byte[] blob = CLIENT.backupKey("saved");
            SecretCases.done(CLIENT.beginDeleteKey("saved"));
            SecretCases.done(CLIENT.beginRecoverDeletedKey("saved"));
            SecretCases.done(CLIENT.beginDeleteKey("saved"));
            CLIENT.purgeDeletedKey("saved");
            Harness.equal(CLIENT.restoreKeyBackup(blob).getId(), made.getId());
        });
    }
}
