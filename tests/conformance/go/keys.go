package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"math/big"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
)

var keys = must(azkeys.NewClient(vault, clientSecret(owner, "lab-client-secret"), &azkeys.ClientOptions{DisableChallengeResourceVerification: true}))

func createKey(name string, parameters azkeys.CreateKeyParameters) azkeys.CreateKeyResponse {
	return must(keys.CreateKey(ctx, name, parameters, nil))
}

func rsaKey(name string) azkeys.CreateKeyResponse {
	return createKey(name, azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeRSA), KeySize: to.Ptr(int32(2048))})
}

func signsAndVerifies(name string, algorithm azkeys.SignatureAlgorithm, digest []byte) []byte {
	signature := must(keys.Sign(ctx, name, "", azkeys.SignParameters{Algorithm: &algorithm, Value: digest}, nil)).Result
	verified := must(keys.Verify(ctx, name, "", azkeys.VerifyParameters{Algorithm: &algorithm, Digest: digest, Signature: signature}, nil))
	equal(*verified.Value, true)
	other := append([]byte{digest[0] ^ 1}, digest[1:]...)
	verified = must(keys.Verify(ctx, name, "", azkeys.VerifyParameters{Algorithm: &algorithm, Digest: other, Signature: signature}, nil))
	equal(*verified.Value, false)
	return signature
}

// One key for all that RSA can do: making one takes its time.
var _ = func() struct{} {
	test("an RSA key is made and read", func() {
		made := rsaKey("rsa")
		found := must(keys.GetKey(ctx, "rsa", "", nil))
		equal([]any{*found.Key.KID, len(found.Key.N), found.Key.E}, []any{*made.Key.KID, 256, []byte{1, 0, 1}})
		equal(found.Key.D, []byte(nil))
	})
	digest := sha256.Sum256([]byte("message"))
	for _, algorithm := range []azkeys.SignatureAlgorithm{azkeys.SignatureAlgorithmRS256, azkeys.SignatureAlgorithmPS256} {
		test(fmt.Sprintf("%s signs and verifies", algorithm), func() { signsAndVerifies("rsa", algorithm, digest[:]) })
	}
	test("RS512 signs and verifies", func() {
		digest := sha512.Sum512([]byte("message"))
		signsAndVerifies("rsa", azkeys.SignatureAlgorithmRS512, digest[:])
	})
	for _, algorithm := range []azkeys.EncryptionAlgorithm{
		azkeys.EncryptionAlgorithmRSA15, azkeys.EncryptionAlgorithmRSAOAEP, azkeys.EncryptionAlgorithmRSAOAEP256,
	} {
		test(fmt.Sprintf("%s encrypts and decrypts", algorithm), func() {
			encrypted := must(keys.Encrypt(ctx, "rsa", "", azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: []byte("plain text")}, nil))
			decrypted := must(keys.Decrypt(ctx, "rsa", "", azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: encrypted.Result}, nil))
			equal(string(decrypted.Result), "plain text")
		})
		test(fmt.Sprintf("%s wraps and unwraps", algorithm), func() {
			wrapped := must(keys.WrapKey(ctx, "rsa", "", azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: make([]byte, 32)}, nil))
			unwrapped := must(keys.UnwrapKey(ctx, "rsa", "", azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: wrapped.Result}, nil))
			equal(unwrapped.Result, make([]byte, 32))
		})
	}
	return struct{}{}
}()

var (
	_ = test("a public exponent is honoured", func() {
		made := createKey("three", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeRSA), PublicExponent: to.Ptr(int32(3))})
		equal(made.Key.E, []byte{3})
	})
	_ = test("a curve's signature verifies with its public key alone", func() {
		digest := sha256.Sum256([]byte("message"))
		made := createKey("curve", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeEC), Curve: to.Ptr(azkeys.CurveNameP256)})
		signature := signsAndVerifies("curve", azkeys.SignatureAlgorithmES256, digest[:])
		public := ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(made.Key.X), Y: new(big.Int).SetBytes(made.Key.Y)}
		equal(ecdsa.Verify(&public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])), true)
	})
	_ = test("an imported key signs", func() {
		private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		pad := func(number *big.Int) []byte { return number.FillBytes(make([]byte, 32)) }
		key := &azkeys.JSONWebKey{Kty: to.Ptr(azkeys.KeyTypeEC), Crv: to.Ptr(azkeys.CurveNameP256), D: pad(private.D), X: pad(private.X), Y: pad(private.Y)}
		must(keys.ImportKey(ctx, "imported", azkeys.ImportKeyParameters{Key: key}, nil))
		digest := sha256.Sum256([]byte("message"))
		signature := signsAndVerifies("imported", azkeys.SignatureAlgorithmES256, digest[:])
		equal(ecdsa.Verify(&private.PublicKey, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])), true)
	})
	_ = test("a key does only what it may", func() {
		parameters := azkeys.SignParameters{Algorithm: to.Ptr(azkeys.SignatureAlgorithmES256), Value: make([]byte, 32)}
		found, err := keys.Sign(ctx, "seeded-key", "", parameters, nil)
		refused(403, "Forbidden", "Operation sign is not permitted on this key.", found, err)
	})
	_ = test("a rotated key is another version", func() {
		made := createKey("rotated", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeEC)})
		rotated := must(keys.RotateKey(ctx, "rotated", nil))
		if *made.Key.KID == *rotated.Key.KID {
			fail("the same version")
		}
		versions := all(keys.NewListKeyPropertiesVersionsPager("rotated", nil), func(page azkeys.ListKeyPropertiesVersionsResponse) []*azkeys.KeyProperties { return page.Value })
		equal(len(versions), 2)
	})
	_ = test("a rotation policy is kept", func() {
		createKey("policy", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeEC)})
		policy := azkeys.KeyRotationPolicy{Attributes: &azkeys.KeyRotationPolicyAttributes{ExpiryTime: to.Ptr("P90D")}}
		must(keys.UpdateKeyRotationPolicy(ctx, "policy", policy, nil))
		equal(*must(keys.GetKeyRotationPolicy(ctx, "policy", nil)).Attributes.ExpiryTime, "P90D")
	})
	_ = test("a key is updated", func() {
		made := createKey("updated", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeEC)})
		attributes := &azkeys.KeyAttributes{Enabled: to.Ptr(false)}
		updated := must(keys.UpdateKey(ctx, "updated", made.Key.KID.Version(), azkeys.UpdateKeyParameters{KeyAttributes: attributes, Tags: map[string]*string{"a": to.Ptr("b")}}, nil))
		equal([]any{*updated.Attributes.Enabled, *updated.Tags["a"]}, []any{false, "b"})
	})
	_ = test("keys are listed", func() {
		found := all(keys.NewListKeyPropertiesPager(nil), func(page azkeys.ListKeyPropertiesResponse) []*azkeys.KeyProperties { return page.Value })
		names := map[string]bool{}
		for _, item := range found {
			names[item.KID.Name()] = true
		}
		equal([]bool{names["rsa"], names["seeded-key"]}, []bool{true, true})
	})
	_ = test("a key that is not there is said so", func() {
		found, err := keys.GetKey(ctx, "nope", "", nil)
		refused(404, "KeyNotFound", "nope", found, err)
	})
	_ = test("a key is backed up, deleted, purged and restored", func() {
		made := createKey("saved", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeEC)})
		blob := must(keys.BackupKey(ctx, "saved", nil)).Value
		must(keys.DeleteKey(ctx, "saved", nil))
		must(keys.GetDeletedKey(ctx, "saved", nil))
		must(keys.RecoverDeletedKey(ctx, "saved", nil))
		must(keys.DeleteKey(ctx, "saved", nil))
		must(keys.PurgeDeletedKey(ctx, "saved", nil))
		restored := must(keys.RestoreKey(ctx, azkeys.RestoreKeyParameters{KeyBackup: blob}, nil))
		equal(*restored.Key.KID, *made.Key.KID)
	})
)
