import com.azure.core.credential.TokenCredential;
import com.azure.core.credential.TokenRequestContext;
import com.azure.core.util.ConfigurationBuilder;
import com.azure.identity.ClientCertificateCredentialBuilder;
import com.azure.identity.ClientSecretCredentialBuilder;
import com.azure.identity.DefaultAzureCredentialBuilder;
import com.azure.identity.ManagedIdentityCredentialBuilder;
import com.azure.identity.WorkloadIdentityCredentialBuilder;

final class IdentityCases {
    static TokenCredential clientSecret(String id, String secret) {
        return new ClientSecretCredentialBuilder().tenantId(Harness.TENANT).clientId(id).clientSecret(secret)
            .authorityHost(Harness.AUTHORITY).disableInstanceDiscovery().build();
    }

    static TokenCredential owner() {
        return clientSecret(Harness.OWNER, "lab-client-secret");
    }

    private static TokenCredential certificate(String file) {
        return new ClientCertificateCredentialBuilder().tenantId(Harness.TENANT).clientId(Harness.OWNER).pemCertificate(Harness.FIXTURES + "/pfx/" + file)
            .authorityHost(Harness.AUTHORITY).disableInstanceDiscovery().build();
    }

    private static TokenCredential workloadIdentity(String id) {
        return new WorkloadIdentityCredentialBuilder().tenantId(Harness.TENANT).clientId(id).tokenFilePath(Harness.TOKEN_FILE)
            .authorityHost(Harness.AUTHORITY).disableInstanceDiscovery().build();
    }

    /** Fails unless the credential's token is good for a secret. */
    private static void reads(TokenCredential credential) {
        Harness.equal(SecretCases.client(credential).getSecret("db-password").getValue(), "correct horse battery staple");
    }

    private static void fails(TokenCredential credential, String text) throws Exception {
        Harness.fails(text, () -> credential.getTokenSync(new TokenRequestContext().addScopes("https://vault.azure.net/.default")));
    }

    static void register() {
        Harness.test("a client secret signs in", () -> reads(owner()));
        Harness.test("a wrong client secret is refused", () -> fails(clientSecret(Harness.OWNER, "guess"), "AADSTS7000215"));
        Harness.test("an unknown application is refused", () -> fails(clientSecret("99999999-0000-0000-0000-000000000000", "x"), "AADSTS700016"));
        Harness.test("a resource that is none is refused", () -> Harness.fails("AADSTS500011",
            () -> owner().getTokenSync(new TokenRequestContext().addScopes("https://nothing.example.test/.default"))));
        Harness.test("a certificate signs in", () -> reads(certificate("kv-rsa-selfsigned.expected.pem")));
        Harness.test("a foreign certificate is refused", () -> fails(certificate("kv-rsa-chain3.expected.pem"), "AADSTS700027"));
        Harness.test("a federated token signs in", () -> reads(workloadIdentity(Harness.OWNER)));
        // This client keeps Entra's reason to itself.
        Harness.test("a federated token of an application that takes none is refused",
            () -> fails(workloadIdentity(Harness.STRANGER), "Couldn't acquire access token from Workload Identity."));
        Harness.test("the default credential finds a client secret in the environment", () -> {
            var environment = new ConfigurationBuilder().putProperty("AZURE_TENANT_ID", Harness.TENANT).putProperty("AZURE_CLIENT_ID", Harness.OWNER)
                .putProperty("AZURE_CLIENT_SECRET", "lab-client-secret").build();
            reads(new DefaultAzureCredentialBuilder().configuration(environment).authorityHost(Harness.AUTHORITY).disableInstanceDiscovery().build());
        });
        // The client is given the emulator's address, and still may look at the metadata address: only where no route leads to it.
        if (System.getenv("NO_ROUTE") != null) {
            Harness.test("a managed identity signs in", () -> reads(new ManagedIdentityCredentialBuilder().build()));
            Harness.test("a managed identity is named by its client id",
                () -> reads(new ManagedIdentityCredentialBuilder().clientId("33333333-3333-3333-3333-333333333333").build()));
        }
    }
}
