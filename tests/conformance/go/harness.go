// Azure's clients for Go, unmodified, against vault-emulator. Cases are functions with a name: `test` registers one, `main` runs them all and tells
// which failed.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

const (
	tenant   = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	owner    = "11111111-1111-1111-1111-111111111111"
	stranger = "22222222-2222-2222-2222-222222222222"
)

var (
	vault     = os.Getenv("VAULT")
	authority = os.Getenv("AUTHORITY")
	fixtures  = os.Getenv("FIXTURES")
	tokenFile = os.Getenv("TOKEN_FILE")
	ctx       = context.Background()
	atVault   = azcore.ClientOptions{Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: authority}}
)

type testCase struct {
	name string
	body func()
}

var cases []testCase

func test(name string, body func()) struct{} {
	cases = append(cases, testCase{name, body})
	return struct{}{}
}

// failure is what ends a case; anything else that panics fails it as well.
type failure string

func fail(format string, values ...any) {
	panic(failure(fmt.Sprintf(format, values...)))
}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func equal(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		fail("%v is not %v", found, expected)
	}
}

func contains(text, part string) {
	if !strings.Contains(text, part) {
		fail("%q is not in %q", part, text)
	}
}

// refused fails unless the call was refused with this status, code and text.
func refused[T any](status int, code, text string, _ T, err error) {
	var response *azcore.ResponseError
	if !errors.As(err, &response) {
		fail("not refused by the vault: %v", err)
	}
	equal([]any{response.StatusCode, response.ErrorCode}, []any{status, code})
	contains(err.Error(), text)
}

// all has the items of every page.
func all[P, I any](pager *runtime.Pager[P], items func(P) []I) []I {
	var found []I
	for pager.More() {
		found = append(found, items(must(pager.NextPage(ctx)))...)
	}
	return found
}

func run(one testCase) (outcome string) {
	defer func() {
		if reason := recover(); reason != nil {
			text := strings.Join(strings.Fields(fmt.Sprint(reason)), " ")
			outcome = fmt.Sprintf("FAILED go %s: %.600s (%s)", one.name, text, place(debug.Stack()))
		}
	}()
	one.body()
	return ""
}

// place is where in our own files a case failed, the harness left out.
func place(stack []byte) string {
	for _, line := range bytes.Split(stack, []byte("\n")) {
		text := string(line)
		slash := strings.LastIndex(text, "/")
		if slash > 0 && strings.Contains(text, "conformance") && strings.Contains(text, ".go:") && !strings.Contains(text, "harness.go:") {
			return strings.Fields(text[slash+1:])[0]
		}
	}
	return "?"
}

func main() {
	start, failed := time.Now(), 0
	for _, one := range cases {
		if outcome := run(one); outcome != "" {
			failed++
			fmt.Println(outcome)
		}
	}
	fmt.Printf("go: %d cases, %d failed, %.1f s\n", len(cases), failed, time.Since(start).Seconds())
	if failed > 0 {
		os.Exit(1)
	}
}
