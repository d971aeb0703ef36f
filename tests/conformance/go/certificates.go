package main

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
)

var certificates = must(azcertificates.NewClient(vault, clientSecret(owner, "lab-client-secret"), &azcertificates.ClientOptions{DisableChallengeResourceVerification: true}))

func selfSigned(subject string) *azcertificates.CertificatePolicy {
	return &azcertificates.CertificatePolicy{
		IssuerParameters: &azcertificates.IssuerParameters{Name: to.Ptr("Self")},
		KeyProperties:    &azcertificates.KeyProperties{KeyType: to.Ptr(azcertificates.KeyTypeEC), Curve: to.Ptr(azcertificates.CurveNameP256)},
		X509CertificateProperties: &azcertificates.X509CertificateProperties{
			Subject: &subject, SubjectAlternativeNames: &azcertificates.SubjectAlternativeNames{DNSNames: []*string{to.Ptr("web.example.test")}}, ValidityInMonths: to.Ptr(int32(3)),
		},
	}
}

func createCertificate(name string) azcertificates.GetCertificateResponse {
	started := must(certificates.CreateCertificate(ctx, name, azcertificates.CreateCertificateParameters{CertificatePolicy: selfSigned("CN=" + name)}, nil))
	equal(*started.Status, "inProgress")
	deadline := time.Now().Add(30 * time.Second)
	for *must(certificates.GetCertificateOperation(ctx, name, nil)).Status == "inProgress" {
		if time.Now().After(deadline) {
			fail("still in progress")
		}
	}
	return must(certificates.GetCertificate(ctx, name, "", nil))
}

func importCertificate(name, file string) azcertificates.ImportCertificateResponse {
	value := string(must(os.ReadFile(fixtures + "/pfx/" + file)))
	policy := &azcertificates.CertificatePolicy{SecretProperties: &azcertificates.SecretProperties{ContentType: to.Ptr("application/x-pem-file")}}
	return must(certificates.ImportCertificate(ctx, name, azcertificates.ImportCertificateParameters{Base64EncodedCertificate: &value, CertificatePolicy: policy}, nil))
}

var (
	_ = test("a self-signed certificate is made", func() {
		made := createCertificate("web")
		parsed := must(x509.ParseCertificate(made.CER))
		equal([]any{parsed.Subject.CommonName, parsed.DNSNames}, []any{"web", []string{"web.example.test"}})
		check(parsed.CheckSignature(parsed.SignatureAlgorithm, parsed.RawTBSCertificate, parsed.Signature))
		thumbprint := sha1.Sum(made.CER)
		equal(made.X509Thumbprint, thumbprint[:])
		equal(made.Attributes.Created.Sub(*made.Attributes.NotBefore), 10*time.Minute)
	})
	_ = test("its secret and its key are there", func() {
		found := must(secrets.GetSecret(ctx, "web", "", nil))
		equal([]any{*found.ContentType, *found.Managed}, []any{"application/x-pkcs12", true})
		must(base64.StdEncoding.DecodeString(*found.Value))
		equal(must(keys.GetKey(ctx, "web", "", nil)).Key.KID.Version(), found.ID.Version())
	})
	_ = test("its policy is read and changed", func() {
		policy := must(certificates.GetCertificatePolicy(ctx, "web", nil))
		equal([]any{*policy.X509CertificateProperties.Subject, *policy.IssuerParameters.Name}, []any{"CN=web", "Self"})
		change := azcertificates.CertificatePolicy{X509CertificateProperties: &azcertificates.X509CertificateProperties{ValidityInMonths: to.Ptr(int32(6))}}
		must(certificates.UpdateCertificatePolicy(ctx, "web", change, nil))
		equal(*must(certificates.GetCertificatePolicy(ctx, "web", nil)).X509CertificateProperties.ValidityInMonths, int32(6))
	})
	_ = test("a chain in PEM is imported", func() {
		made := importCertificate("imported-certificate", "kv-rsa-chain3.expected.pem")
		parsed := must(x509.ParseCertificate(made.CER))
		equal(parsed.IsCA, false)
		found := must(secrets.GetSecret(ctx, "imported-certificate", "", nil))
		equal(*found.ContentType, "application/x-pem-file")
		contains(*found.Value, "-----BEGIN PRIVATE KEY-----")
	})
	_ = test("what is no certificate is not imported", func() {
		found, err := certificates.ImportCertificate(ctx, "broken", azcertificates.ImportCertificateParameters{Base64EncodedCertificate: to.Ptr("AAAA")}, nil)
		refused(400, "BadParameter", "The specified X.509 certificate content can not be read.", found, err)
	})
	_ = test("a request waits for its issuer and is cancelled", func() {
		policy := selfSigned("CN=waiting")
		policy.IssuerParameters.Name = to.Ptr("Unknown")
		started := must(certificates.CreateCertificate(ctx, "waiting", azcertificates.CreateCertificateParameters{CertificatePolicy: policy}, nil))
		request := must(x509.ParseCertificateRequest(started.CSR))
		equal(request.Subject.CommonName, "waiting")
		must(certificates.UpdateCertificateOperation(ctx, "waiting", azcertificates.UpdateCertificateOperationParameter{CancellationRequested: to.Ptr(true)}, nil))
		equal(*must(certificates.GetCertificateOperation(ctx, "waiting", nil)).Status, "cancelled")
		must(certificates.DeleteCertificateOperation(ctx, "waiting", nil))
		found, err := certificates.GetCertificateOperation(ctx, "waiting", nil)
		refused(404, "PendingCertificateNotFound", "waiting", found, err)
	})
	_ = test("certificates and their versions are listed", func() {
		createCertificate("web")
		found := all(certificates.NewListCertificatePropertiesPager(nil), func(page azcertificates.ListCertificatePropertiesResponse) []*azcertificates.CertificateProperties {
			return page.Value
		})
		names := map[string]bool{}
		for _, item := range found {
			names[item.ID.Name()] = true
		}
		equal([]bool{names["web"], names["seeded-certificate"]}, []bool{true, true})
		versions := all(certificates.NewListCertificatePropertiesVersionsPager("web", nil), func(page azcertificates.ListCertificatePropertiesVersionsResponse) []*azcertificates.CertificateProperties {
			return page.Value
		})
		equal(len(versions), 2)
	})
	_ = test("a certificate is updated", func() {
		parameters := azcertificates.UpdateCertificateParameters{Tags: map[string]*string{"team": to.Ptr("web")}}
		equal(*must(certificates.UpdateCertificate(ctx, "web", "", parameters, nil)).Tags["team"], "web")
	})
	_ = test("contacts and issuers are kept", func() {
		contacts := azcertificates.Contacts{ContactList: []*azcertificates.Contact{{Email: to.Ptr("a@example.test")}}}
		must(certificates.SetContacts(ctx, contacts, nil))
		equal(*must(certificates.GetContacts(ctx, nil)).ContactList[0].Email, "a@example.test")
		must(certificates.DeleteContacts(ctx, nil))
		must(certificates.SetIssuer(ctx, "ours", azcertificates.SetIssuerParameters{Provider: to.Ptr("Test")}, nil))
		equal(*must(certificates.GetIssuer(ctx, "ours", nil)).Provider, "Test")
		must(certificates.DeleteIssuer(ctx, "ours", nil))
	})
	_ = test("a certificate that is not there is said so", func() {
		found, err := certificates.GetCertificate(ctx, "nope", "", nil)
		refused(404, "CertificateNotFound", "nope", found, err)
	})
	_ = test("a certificate is backed up, deleted with its key and secret, purged and restored", func() {
		made := createCertificate("saved-certificate")
		blob := must(certificates.BackupCertificate(ctx, "saved-certificate", nil)).Value
		must(certificates.DeleteCertificate(ctx, "saved-certificate", nil))
		found, err := secrets.GetSecret(ctx, "saved-certificate", "", nil)
		refused(404, "SecretNotFound", "saved-certificate", found, err)
		must(certificates.RecoverDeletedCertificate(ctx, "saved-certificate", nil))
		must(certificates.DeleteCertificate(ctx, "saved-certificate", nil))
		must(certificates.PurgeDeletedCertificate(ctx, "saved-certificate", nil))
		restored := must(certificates.RestoreCertificate(ctx, azcertificates.RestoreCertificateParameters{CertificateBackup: blob}, nil))
		equal([]any{*restored.ID, restored.CER}, []any{*made.ID, made.CER})
	})
)
