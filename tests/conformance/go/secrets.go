package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

func secretsOf(credential azcore.TokenCredential) *azsecrets.Client {
	return must(azsecrets.NewClient(vault, credential, &azsecrets.ClientOptions{DisableChallengeResourceVerification: true}))
}

var secrets = func() *azsecrets.Client { return secretsOf(clientSecret(owner, "lab-client-secret")) }()

func setSecret(name, value string) azsecrets.SetSecretResponse {
	return must(secrets.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: &value}, nil))
}

func getSecret(name, version string) string {
	return *must(secrets.GetSecret(ctx, name, version, nil)).Value
}

func secretNames() []string {
	return all(secrets.NewListSecretPropertiesPager(nil), func(page azsecrets.ListSecretPropertiesResponse) []string {
		var names []string
		for _, item := range page.Value {
			names = append(names, item.ID.Name())
		}
		return names
	})
}

var (
	_ = test("a secret is set and read", func() {
		made := setSecret("plain", "value")
		found := must(secrets.GetSecret(ctx, "plain", "", nil))
		equal([]any{*found.Value, *found.ID, len(found.ID.Version())}, []any{"value", *made.ID, 32})
	})
	_ = test("a secret keeps everything that it is given", func() {
		from, until := time.Unix(1577934245, 0).UTC(), time.Unix(4102444800, 0).UTC()
		attributes := &azsecrets.SecretAttributes{Enabled: to.Ptr(true), NotBefore: &from, Expires: &until}
		parameters := azsecrets.SetSecretParameters{
			Value: to.Ptr("v"), ContentType: to.Ptr("text/plain"), Tags: map[string]*string{"a": to.Ptr("b")}, SecretAttributes: attributes,
		}
		must(secrets.SetSecret(ctx, "full", parameters, nil))
		found := must(secrets.GetSecret(ctx, "full", "", nil))
		equal([]string{*found.ContentType, *found.Tags["a"], *found.Attributes.RecoveryLevel}, []string{"text/plain", "b", "Recoverable+Purgeable"})
		equal([]int64{found.Attributes.NotBefore.Unix(), found.Attributes.Expires.Unix()}, []int64{from.Unix(), until.Unix()})
		equal(*found.Attributes.RecoverableDays, int32(90))
	})
	_ = test("an empty value is a value", func() {
		setSecret("empty", "")
		equal(getSecret("empty", ""), "")
	})
	_ = test("a value of any characters comes back", func() {
		value := "läßt grüßen\n\t\"\\ \u2028 🔑"
		setSecret("unicode", value)
		equal(getSecret("unicode", ""), value)
	})
	_ = test("an old version stays readable", func() {
		first := setSecret("versions", "one")
		setSecret("versions", "two")
		equal([]string{getSecret("versions", first.ID.Version()), getSecret("versions", "")}, []string{"one", "two"})
	})
	_ = test("versions are listed", func() {
		made := map[string]bool{}
		for _, value := range []string{"1", "2", "3"} {
			made[setSecret("listed-versions", value).ID.Version()] = true
		}
		found := all(secrets.NewListSecretPropertiesVersionsPager("listed-versions", nil), func(page azsecrets.ListSecretPropertiesVersionsResponse) []*azsecrets.SecretProperties {
			return page.Value
		})
		for _, item := range found {
			delete(made, item.ID.Version())
		}
		equal([]int{len(found), len(made)}, []int{3, 0})
	})
	_ = test("a list of many pages is whole", func() {
		for index := range 30 {
			setSecret(fmt.Sprintf("many-%d", index), "v")
		}
		count := 0
		for _, name := range secretNames() {
			if strings.HasPrefix(name, "many-") {
				count++
			}
		}
		equal(count, 30)
	})
	_ = test("an update changes what it names", func() {
		made := setSecret("updated", "v")
		parameters := azsecrets.UpdateSecretPropertiesParameters{ContentType: to.Ptr("b"), SecretAttributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(false)}}
		updated := must(secrets.UpdateSecretProperties(ctx, "updated", made.ID.Version(), parameters, nil))
		equal([]any{*updated.ContentType, *updated.Attributes.Enabled}, []any{"b", false})
	})
	_ = test("a disabled secret is not given", func() {
		found, err := secrets.GetSecret(ctx, "old-token", "", nil)
		refused(403, "Forbidden", "Operation get is not allowed on a disabled secret.", found, err)
	})
	_ = test("a secret that is not there is said so", func() {
		found, err := secrets.GetSecret(ctx, "nope", "", nil)
		refused(404, "SecretNotFound", "A secret with (name/id) nope was not found in this key vault.", found, err)
	})
	_ = test("a stranger reads nothing", func() {
		found, err := secretsOf(clientSecret(stranger, "stranger-secret")).GetSecret(ctx, "plain", "", nil)
		refused(403, "Forbidden", "Caller is not authorized to perform action on resource.", found, err)
	})
	_ = test("a value that is too long is refused", func() {
		found, err := secrets.SetSecret(ctx, "long", azsecrets.SetSecretParameters{Value: to.Ptr(strings.Repeat("x", 25601))}, nil)
		refused(400, "BadParameter", "25600", found, err)
	})
	_ = test("a body of megabytes is refused in words", func() {
		found, err := secrets.SetSecret(ctx, "long", azsecrets.SetSecretParameters{Value: to.Ptr(strings.Repeat("x", 3_000_000))}, nil)
		refused(413, "RequestBodyTooLarge", "longer than 1048576 bytes", found, err)
	})
	_ = test("a secret is deleted, recovered, deleted and purged", func() {
		setSecret("mortal", "v")
		deleted := must(secrets.DeleteSecret(ctx, "mortal", nil))
		contains(*deleted.RecoveryID, "/deletedsecrets/mortal")
		found, err := secrets.GetSecret(ctx, "mortal", "", nil)
		refused(404, "SecretNotFound", "mortal", found, err)
		again, err := secrets.SetSecret(ctx, "mortal", azsecrets.SetSecretParameters{Value: to.Ptr("w")}, nil)
		refused(409, "Conflict", "is currently in a deleted but recoverable state", again, err)
		must(secrets.RecoverDeletedSecret(ctx, "mortal", nil))
		equal(getSecret("mortal", ""), "v")
		must(secrets.DeleteSecret(ctx, "mortal", nil))
		listed := all(secrets.NewListDeletedSecretPropertiesPager(nil), func(page azsecrets.ListDeletedSecretPropertiesResponse) []*azsecrets.DeletedSecretProperties {
			return page.Value
		})
		equal(len(listed), 1)
		must(secrets.PurgeDeletedSecret(ctx, "mortal", nil))
		gone, err := secrets.GetDeletedSecret(ctx, "mortal", nil)
		refused(404, "SecretNotFound", "Deleted Secret not found: mortal", gone, err)
	})
	_ = test("a backup brings all versions back", func() {
		first := setSecret("saved", "one")
		setSecret("saved", "two")
		blob := must(secrets.BackupSecret(ctx, "saved", nil)).Value
		found, err := secrets.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: blob}, nil)
		refused(409, "Conflict", "There was a conflict restoring the secret 'https://", found, err)
		must(secrets.DeleteSecret(ctx, "saved", nil))
		must(secrets.PurgeDeletedSecret(ctx, "saved", nil))
		must(secrets.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: blob}, nil))
		equal([]string{getSecret("saved", first.ID.Version()), getSecret("saved", "")}, []string{"one", "two"})
	})
)
