package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	migrationsFolder = "service/store/migrations"
	releasedList     = "released.sha256"
)

// listMigrations is the list of the migrations below root, in the form of sha256sum, behind the
// comment that the list begins with.
func listMigrations(root string) (string, error) {
	folder := filepath.Join(root, filepath.FromSlash(migrationsFolder))
	old, err := os.ReadFile(filepath.Join(folder, releasedList))
	if err != nil {
		return "", err
	}
	var list strings.Builder
	for line := range strings.Lines(string(old)) {
		if strings.HasPrefix(line, "#") {
			list.WriteString(line)
		}
	}
	names, err := filepath.Glob(filepath.Join(folder, "*.sql"))
	if err != nil {
		return "", err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(text), filepath.Base(name))
	}
	return list.String(), nil
}

// writeMigrations says of all migrations that they are released. A test of service/store fails from
// then on when one of them is changed.
func writeMigrations(root string) error {
	list, err := listMigrations(root)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, filepath.FromSlash(migrationsFolder), releasedList), []byte(list), 0o644)
}

// checkMigrations refuses a release with a migration that is not listed, or was changed since.
func checkMigrations(root string) error {
	want, err := listMigrations(root)
	if err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(migrationsFolder), releasedList))
	if err == nil && string(got) != want {
		err = fmt.Errorf("%s/%s does not list the migrations as they are: run `go run ./.ci/release -migrations` on main and commit it", migrationsFolder, releasedList)
	}
	return err
}
