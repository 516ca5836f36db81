package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/servicetest"
)

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", name))
	must(t, err)
	return string(text)
}

// table is the rows of the first table with that head, as cells.
func table(t *testing.T, text, head string) [][]string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n"+head+"\n")
	if !ok {
		t.Fatalf("no table %s", head)
	}
	var rows [][]string
	for line := range strings.Lines(rest) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			break
		}
		if strings.HasPrefix(line, "| ---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

func code(s string) string { return "`" + s + "`" }

func TestSettingsAndTheirTableAgree(t *testing.T) {
	t.Parallel()
	want := map[string][2]string{"`LICENSE_KEY`": {"none", "not set"}}
	for f := range reflect.TypeFor[Settings]().Fields() {
		name := f.Tag.Get("env")
		flag := "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "LICENSE_"), "_", "-"))
		want[code(name)] = [2]string{code(flag), code(f.Tag.Get("default"))}
		if f.Tag.Get("default") == "" {
			want[code(name)] = [2]string{code(flag), "in words"}
		}
	}
	got := map[string][2]string{}
	for _, row := range table(t, document(t, "service.md"), "| variable | flag | default | meaning |") {
		if len(row) != 4 || slices.Contains(row, "") {
			t.Fatalf("row %q lacks something", row)
		}
		def := row[2]
		if !strings.HasPrefix(def, "`") && row[1] != "none" {
			def = "in words"
		}
		got[row[0]] = [2]string{row[1], def}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-struct +docs/service.md):\n%s", diff)
	}
}

func TestEveryCommandIsInTheDocument(t *testing.T) {
	t.Parallel()
	text := document(t, "service.md")
	for _, leaf := range model(t).Leaves(false) {
		path := strings.TrimPrefix(leaf.Path(), program+" ")
		if !strings.Contains(text, program+" "+path) && !strings.Contains(text, code(path)) {
			t.Errorf("docs/service.md does not name %s", path)
		}
	}
}

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```\n")

// TestCommandsOfTheDocumentWork runs what docs/service.md shows of the program, in its order.
func TestCommandsOfTheDocumentWork(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	// the dates of the document are near; the test shall hold for long
	text := strings.ReplaceAll(document(t, "service.md"), "2027-03-12", "2099-03-12")
	ran := 0
	for i, block := range shellBlock.FindAllStringSubmatch(text, -1) {
		b.exampleVariables(i)
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSpace(line)
			if !strings.Contains(line, program+" ") || strings.HasPrefix(line, "docker ") || line == program+" serve" {
				continue
			}
			ran++
			if out, err := b.shell(line); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
	}
	if ran < 20 {
		t.Errorf("ran %d commands of the document", ran)
	}
}

// exampleVariables sets what the examples of block i speak of. All that was there before has become old: a new key signs, no token lives.
func (b *box) exampleVariables(i int) {
	b.t.Helper()
	made := b.ok("account", "create", "--email", fmt.Sprintf("example%d@example.com", i), "--valid-until", "2099-03-12", "--json")
	b.alter("UPDATE signing_keys SET signs_from = created_at; UPDATE tokens SET expires_at = 1000")
	b.env["ACCOUNT"], b.env["API_TOKEN"] = mustMember(b.t, made, "id"), mustMember(b.t, made, "api_token")
	issued := b.ok("token", "issue", "--account", b.env["ACCOUNT"], "--json")
	b.env["TOKEN"], b.env["JTI"] = mustMember(b.t, issued, "token"), mustMember(b.t, issued, "jti")
	b.env["ADMIN_TOKEN"] = strings.TrimSpace(b.ok("admin-token", "create", "--scope", "audit:read"))
	b.env["KID"] = mustMember(b.t, b.ok("key", "list", "--json"), "0.kid")
}

// shell runs a line as a person would.
func (b *box) shell(line string) (string, error) {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), "sh", "-eu", "-c", line)
	cmd.Dir, cmd.Env = b.dir, []string{quickExit, "PATH=" + os.Getenv("PATH"), "HOME=" + b.dir}
	for k, v := range b.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestEveryFieldOfTheLogIsInTheDocument(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.env["LICENSE_LOG_FORMAT"], b.env["LICENSE_UNKNOWN"] = "json", "1"
	r := b.serve()
	made := b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2020-03-12", "--json")
	r.wantCall(t, "POST", "/_api/license/issue", mustMember(t, made, "api_token"), 403)
	_, log, err := r.stop(syscall.SIGTERM)
	must(t, err)
	text := document(t, "service.md")
	fields := map[string]bool{}
	for line := range strings.Lines(log) {
		var entry map[string]any
		must(t, json.Unmarshal([]byte(line), &entry))
		if msg := entry["msg"].(string); !strings.Contains(text, "| "+code(msg)+" | "+entry["level"].(string)+" |") {
			t.Errorf("docs/service.md does not name the message %s of level %s", msg, entry["level"])
		}
		for _, own := range []string{"msg", "level", "time"} {
			delete(entry, own)
		}
		for name := range entry {
			fields[name] = true
		}
	}
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		if !strings.Contains(text, code(f)) {
			t.Errorf("docs/service.md does not name the field %s", f)
		}
	}
	if len(fields) < 14 {
		t.Errorf("fields in the log = %q", slices.Sorted(maps.Keys(fields)))
	}
}

// example is one of docs/api.md: a shell block, the status, and often the body.
var example = regexp.MustCompile("(?s)```sh\n([^`]*?)```\n\n([0-9]{3})\n(?:\n```json\n([^`]*?)\n```\n)?")

// TestExamplesOfTheAPIWork runs each with the real curl against a real service.
func TestExamplesOfTheAPIWork(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, apiToken := s.Account(t, "dev@example.com")
	revoked := s.IssueToken(t, a.ID, 0)
	_, err := s.RevokeToken(t.Context(), revoked, false)
	must(t, err)
	b := newBox(t)
	b.env = map[string]string{"ORIGIN": s.Origin, "API": s.URL, "API_TOKEN": apiToken, "TOKEN": s.IssueToken(t, a.ID, 0), "REVOKED": revoked}
	b.write(".curlrc", "silent\nshow-error\nwrite-out = \"\\n%{http_code}\"\n")

	text := document(t, "api.md")
	examples := example.FindAllStringSubmatch(text, -1)
	if blocks := strings.Count(text, "```sh\n"); len(examples) != blocks || blocks < 8 {
		t.Fatalf("%d examples have a status, of %d", len(examples), blocks)
	}
	for _, e := range examples {
		command, status, body := e[1], e[2], e[3]
		out, err := b.shell(command)
		i := strings.LastIndex(out, "\n")
		if err != nil || i < 0 || out[i+1:] != status {
			t.Errorf("%s= %v\n%s\nwant %s", command, err, out, status)
			continue
		}
		if body != "" {
			wantAlike(t, command, body, out[:i])
		}
	}
}

// wantAlike fails unless both bodies have the same members; what is no token and no time must be the same too.
func wantAlike(t *testing.T, command, document, answer string) {
	t.Helper()
	var want, got map[string]any
	must(t, json.Unmarshal([]byte(document), &want))
	must(t, json.Unmarshal([]byte(answer), &got))
	for _, object := range []map[string]any{want, got} {
		for _, own := range []string{"token", "expires_at", "refresh_after"} {
			if _, ok := object[own]; ok {
				object[own] = "of its own"
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s(-docs/api.md +answer):\n%s", command, diff)
	}
}

func TestEveryRouteIsInTheDocument(t *testing.T) {
	t.Parallel()
	sections := map[string]string{}
	for _, section := range strings.Split(document(t, "api.md"), "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		sections[title] = text
	}
	routes := servicetest.Start(t, servicetest.Options{}).Server.Routes()
	for _, r := range routes {
		title := r.Method + " " + r.Path
		text, ok := sections[title]
		if !ok {
			t.Errorf("docs/api.md has no section %s", title)
		}
		if want := "Who may call: " + string(r.Guard) + "."; ok && !strings.Contains(text, want) {
			t.Errorf("docs/api.md does not say under %s: %s", title, want)
		}
		delete(sections, title)
	}
	for title := range sections {
		if strings.Contains(title, " /") {
			t.Errorf("docs/api.md has a section %s, and there is no such route", title)
		}
	}
	if len(routes) == 0 {
		t.Error("there are no routes")
	}
}

func TestEveryCodeIsInTheDocument(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join("api", "errors.go"))
	must(t, err)
	openapi, err := os.ReadFile(filepath.Join("api", "openapi.yaml"))
	must(t, err)
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^\tCode\w+ Code = "(\w+)"$`).FindAllStringSubmatch(string(source), -1) {
		status := regexp.MustCompile("\\| `" + m[1] + "` \\| (\\d+) \\|").FindStringSubmatch(string(openapi))
		if status == nil {
			t.Fatalf("openapi.yaml does not say the status of %s", m[1])
		}
		want = append(want, code(m[1])+" "+status[1])
	}
	var got []string
	for _, row := range table(t, document(t, "api.md"), "| code | status | meaning | what to do |") {
		got = append(got, row[0]+" "+row[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("codes and their status (-service/api +docs/api.md):\n%s", diff)
	}
}
