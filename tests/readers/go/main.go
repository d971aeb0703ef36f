// Command readers reads what write.rs wrote with the readers that Go programs use: readers DIRECTORY.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"

	compose "github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/joho/godotenv"
	yaml3 "gopkg.in/yaml.v3"
	kubernetes "sigs.k8s.io/yaml"
)

type values = map[string]string

var (
	directory = os.Args[1]
	failed    = false
)

func fromBytes(unmarshal func([]byte, any) error) func(string) (values, error) {
	return func(file string) (values, error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		found := values{}
		return found, unmarshal(text, &found)
	}
}

func check(reader, format string, read func(file string) (values, error), wanted func(value string) values) {
	files, err := os.ReadDir(filepath.Join(directory, format))
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		value, err := os.ReadFile(filepath.Join(directory, "expected", file.Name()))
		if err != nil {
			panic(err)
		}
		found, err := read(filepath.Join(directory, format, file.Name()))
		if err != nil || !maps.Equal(found, wanted(string(value))) {
			failed = true
			fmt.Printf("%s: %s %s: %.40q was read as %.200q %v\n", reader, format, file.Name(), value, fmt.Sprint(found), err)
		}
	}
	fmt.Printf("%s: %s: %d read\n", reader, format, len(files))
}

func group(value string) values {
	return values{"BEFORE": "before", "KEY": value, "AFTER": "after"}
}

func main() {
	check("godotenv", "dotenv", func(file string) (values, error) { return godotenv.Read(file) }, group)
	check("Docker Compose", "dotenv", func(file string) (values, error) {
		return compose.GetEnvFromFile(map[string]string{}, []string{file})
	}, group)
	check("Go yaml.v3", "yaml", fromBytes(yaml3.Unmarshal), group)
	check("Go sigs.k8s.io/yaml", "yaml", fromBytes(func(text []byte, into any) error { return kubernetes.Unmarshal(text, into) }), group)
	check("Go encoding/json", "json", fromBytes(json.Unmarshal), group)
	check("Go net/url", "url", func(file string) (values, error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		value, err := url.QueryUnescape(string(text))
		return values{"KEY": value}, err
	}, func(value string) values { return values{"KEY": value} })
	if failed {
		os.Exit(1)
	}
}
