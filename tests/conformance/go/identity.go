package main

import (
	"errors"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

var scope = policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}}

func clientSecret(id, secret string) azcore.TokenCredential {
	options := &azidentity.ClientSecretCredentialOptions{ClientOptions: atVault, DisableInstanceDiscovery: true}
	return must(azidentity.NewClientSecretCredential(tenant, id, secret, options))
}

// reads fails unless the credential's token is good for a secret.
func reads(credential azcore.TokenCredential) {
	equal(*must(secretsOf(credential).GetSecret(ctx, "db-password", "", nil)).Value, "correct horse battery staple")
}

// fails unless there is no token, for the reason of this number.
func fails(credential azcore.TokenCredential, number string) {
	_, err := credential.GetToken(ctx, scope)
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) {
		fail("there is a token, or another error: %v", err)
	}
	contains(err.Error(), "AADSTS"+number)
}

func certificate(file string) azcore.TokenCredential {
	chain, key, err := azidentity.ParseCertificates(must(os.ReadFile(fixtures+"/pfx/"+file)), nil)
	check(err)
	options := &azidentity.ClientCertificateCredentialOptions{ClientOptions: atVault, DisableInstanceDiscovery: true}
	return must(azidentity.NewClientCertificateCredential(tenant, owner, chain, key, options))
}

// with sets variables of the environment for one case.
func with(variables map[string]string, body func()) func() {
	return func() {
		for name, value := range variables {
			check(os.Setenv(name, value))
			defer os.Unsetenv(name)
		}
		body()
	}
}

var (
	_ = test("a client secret signs in", func() { reads(clientSecret(owner, "lab-client-secret")) })
	_ = test("a wrong client secret is refused", func() { fails(clientSecret(owner, "guess"), "7000215") })
	_ = test("an unknown application is refused", func() { fails(clientSecret("99999999-0000-0000-0000-000000000000", "x"), "700016") })
	_ = test("a resource that is none is refused", func() {
		_, err := clientSecret(owner, "lab-client-secret").GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://nothing.example.test/.default"}})
		if err == nil {
			fail("there is a token")
		}
		contains(err.Error(), "AADSTS500011")
	})
	_ = test("a certificate signs in", func() { reads(certificate("kv-rsa-selfsigned.expected.pem")) })
	_ = test("a foreign certificate is refused", func() { fails(certificate("kv-rsa-chain3.expected.pem"), "700027") })
	_ = test("a federated token signs in", func() {
		options := &azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: atVault, ClientID: owner, TenantID: tenant, TokenFilePath: tokenFile, DisableInstanceDiscovery: true,
		}
		reads(must(azidentity.NewWorkloadIdentityCredential(options)))
	})
	_ = test("a federated token of an application that takes none is refused", func() {
		options := &azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: atVault, ClientID: stranger, TenantID: tenant, TokenFilePath: tokenFile, DisableInstanceDiscovery: true,
		}
		fails(must(azidentity.NewWorkloadIdentityCredential(options)), "70025")
	})
	_ = test("the default credential finds a client secret in the environment", with(map[string]string{
		"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": owner, "AZURE_CLIENT_SECRET": "lab-client-secret", "AZURE_AUTHORITY_HOST": authority,
		"AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
	}, func() {
		reads(must(azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{DisableInstanceDiscovery: true})))
	}))
)

// The metadata address is built in, and whoever answers there is not the emulator: only where no route leads to it.
func init() {
	if os.Getenv("NO_ROUTE") == "" {
		return
	}
	endpoint := map[string]string{"IDENTITY_ENDPOINT": os.Getenv("AZURE_POD_IDENTITY_AUTHORITY_HOST") + "/msi/token", "IDENTITY_HEADER": "any"}
	test("a managed identity signs in as on App Service", with(endpoint, func() {
		reads(must(azidentity.NewManagedIdentityCredential(nil)))
	}))
	test("a managed identity signs in as on a virtual machine", func() {
		reads(must(azidentity.NewManagedIdentityCredential(nil)))
	})
	test("a managed identity is named by its client id", with(endpoint, func() {
		id := azidentity.ClientID("33333333-3333-3333-3333-333333333333")
		reads(must(azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: id})))
	}))
	test("a managed identity that is not there gets no token", with(endpoint, func() {
		options := &azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID(stranger)}
		_, err := must(azidentity.NewManagedIdentityCredential(options)).GetToken(ctx, scope)
		if err == nil {
			fail("there is a token")
		}
		contains(err.Error(), "Identity not found")
	}))
	test("the default credential finds a managed identity", with(endpoint, func() {
		reads(must(azidentity.NewDefaultAzureCredential(nil)))
	}))
}
