package githubtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The payloads of webhooks in the shape that GitHub publishes
// (https://github.com/github/rest-api-description, webhooks): every member that it demands, of the
// kind that it names. e2e/webhooks holds them against that description, so a test that sends them
// is as strict as GitHub.

// Set changes members of a payload by their path: {"repository.owner.id": 7}.
type Set map[string]any

// object is a JSON object.
type object = map[string]any

// orNull is a member that may be null.
type orNull struct{ value any }

// stamp is a time that GitHub writes as RFC 3339 or, in the installation of some events, as seconds
// since 1970.
type stamp string

// Events are the events that Payload makes, each with its actions.
func Events() map[string][]string {
	out := map[string][]string{}
	for event, actions := range events {
		out[event] = slices.Sorted(maps.Keys(actions))
	}
	return out
}

// Payload is EventPayload for a test.
func Payload(tb TB, event, action string, set Set) []byte {
	tb.Helper()
	text, err := EventPayload(event, action, set)
	if err != nil {
		tb.Fatalf("payload of %s: %v", event, err)
	}
	return text
}

// EventPayload is what GitHub posts when an event happens. It fails when GitHub would not send that:
// an event or an action that does not exist, a member that is not there, a value of another kind,
// null where it never is.
func EventPayload(event, action string, set Set) ([]byte, error) {
	members, known := events[event][action]
	if !known {
		return nil, fmt.Errorf("GitHub sends no %s %s", event, action)
	}
	payload := mapped(members(), func(v any) any { return v }).(object)
	payload["action"] = action
	for _, path := range slices.Sorted(maps.Keys(set)) { // a parent before its members
		if err := change(payload, path, set[path]); err != nil {
			return nil, fmt.Errorf("%s %s: %s: %w", event, action, path, err)
		}
	}
	return json.Marshal(plain(payload))
}

// Nullable are the paths of the members of a payload that may be null.
func Nullable(event, action string) []string {
	var paths []string
	var walk func(string, any)
	walk = func(path string, v any) {
		if n, ok := v.(orNull); ok {
			paths = append(paths, path)
			v = n.value
		}
		if o, ok := v.(object); ok {
			for name, member := range o {
				walk(strings.TrimPrefix(path+"."+name, "."), member)
			}
		}
	}
	walk("", events[event][action]())
	slices.Sort(paths)
	return paths
}

func change(in object, path string, to any) error {
	name, rest, deeper := strings.Cut(path, ".")
	old, there := in[name]
	if !there {
		return fmt.Errorf("there is no member %s", name)
	}
	inner, nullable := old.(orNull)
	if nullable {
		old = inner.value
	}
	if deeper {
		o, ok := old.(object)
		if !ok {
			return fmt.Errorf("%s is not an object", name)
		}
		return change(o, rest, to)
	}
	_, seconds := old.(stamp)
	switch {
	case to == nil && !nullable:
		return fmt.Errorf("%s is never null", name)
	case to == nil, old == nil, kindOf(to) == kindOf(old), seconds && kindOf(to) == "number":
	default:
		return fmt.Errorf("%s is of kind %s, not %s", name, kindOf(old), kindOf(to))
	}
	in[name] = to
	if nullable {
		in[name] = orNull{to}
	}
	return nil
}

// kindOf is the kind of a value in JSON.
func kindOf(v any) string {
	text, _ := json.Marshal(plain(v))
	switch text = append(text, ' '); text[0] {
	case '"':
		return "string"
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}

// plain is a value without the marks.
func plain(v any) any {
	return mapped(v, func(v any) any {
		if n, ok := v.(orNull); ok {
			return n.value
		}
		return v
	})
}

// mapped is a copy of a value with each value in it as f makes it.
func mapped(v any, f func(any) any) any {
	switch v := f(v).(type) {
	case orNull:
		return orNull{mapped(v.value, f)}
	case object:
		out := object{}
		for name, member := range v {
			out[name] = mapped(member, f)
		}
		return out
	default:
		return v
	}
}

// events make the members of each action of an event.
var events = map[string]map[string]func() object{
	"marketplace_purchase": {
		"purchased":                purchase,
		"changed":                  purchase,
		"pending_change":           purchase,
		"pending_change_cancelled": purchase,
		"cancelled":                purchase,
	},
	"sponsorship": {
		"created": sponsorship,
		"edited":  with(sponsorship, "changes", object{"privacy_level": object{"from": "private"}}),
		"tier_changed": with(sponsorship, "changes", object{
			"tier": object{"from": sponsorshipTier()},
		}),
		"pending_tier_change": with(sponsorship, "changes", object{
			"tier": object{"from": sponsorshipTier()},
		}, "effective_date", "2026-04-01T00:00:00+00:00"),
		"pending_cancellation": with(sponsorship, "effective_date", "2026-04-01T00:00:00+00:00"),
		"cancelled":            sponsorship,
	},
	"installation": {
		"created":                  with(installed, "repositories", []object{repositoryLite()}),
		"deleted":                  installed,
		"suspend":                  installed,
		"unsuspend":                installed,
		"new_permissions_accepted": installed,
	},
	"installation_repositories": {
		"added":   installedIn("repositories_added", "repositories_removed"),
		"removed": installedIn("repositories_removed", "repositories_added"),
	},
	"installation_target": {"renamed": renamedTarget},
	"repository": {
		"created":    ofRepository,
		"deleted":    ofRepository,
		"edited":     with(ofRepository, "changes", object{"description": object{"from": nil}}),
		"archived":   ofRepository,
		"publicized": ofRepository,
		"renamed": with(ofRepository, "changes", object{
			"repository": object{"name": object{"from": "old-site"}},
		}),
		"transferred": with(ofRepository, "changes", object{
			"owner": object{"from": object{"user": user(3, "hubot")}},
		}),
	},
	"organization": {
		"renamed": with(ofOrganization, "changes", object{"login": object{"from": "acme-old"}}),
		"deleted": ofOrganization,
	},
	"secret_scanning_alert": {
		"created":         alerted,
		"reopened":        alerted,
		"publicly_leaked": alerted,
		"assigned":        alerted, "resolved": alerted,
		"validated": alerted,
	},
}

// with adds members to those of an event: name, value, …
func with(members func() object, more ...any) func() object {
	return func() object {
		payload := members()
		for pair := range slices.Chunk(more, 2) {
			payload[pair[0].(string)] = pair[1]
		}
		return payload
	}
}

// userURLs are the addresses of an account of GitHub beside url.
var userURLs = []string{
	"html", "avatar", "followers", "following", "gists", "starred", "subscriptions", "organizations",
	"repos", "events", "received_events",
}

// user is an account of GitHub.
func user(id int64, login string) object {
	u := object{
		"login": login, "id": id, "node_id": "U_1", "gravatar_id": "", "type": "User",
		"site_admin": false, "url": "https://api.github.com/users/" + login,
	}
	for _, name := range userURLs {
		u[name+"_url"] = "https://api.github.com/users/" + login + "/" + name
	}
	return u
}

func purchase() object {
	return object{
		"effective_date": "2026-03-01T00:00:00+00:00",
		"sender":         with(func() object { return user(9, "somebody") }, "email", orNull{"else@example.com"})(),
		"marketplace_purchase": object{
			"account": object{
				"type": "Organization", "id": 18404719, "node_id": "O_1", "login": "acme",
				"organization_billing_email": orNull{"bills@example.com"},
			},
			"billing_cycle": "monthly", "unit_count": 1, "on_free_trial": false,
			"free_trial_ends_on": orNull{}, "next_billing_date": orNull{"2026-04-01T00:00:00+00:00"},
			"plan": object{
				"id": 435, "name": "Basic Plan", "description": "Basic Plan", "price_model": "FLAT_RATE",
				"monthly_price_in_cents": 1000, "yearly_price_in_cents": 10000,
				"has_free_trial": true, "unit_name": orNull{}, "bullets": []string{"Is Basic"},
			},
		},
	}
}

func sponsorship() object {
	return object{
		"sender": user(2, "monalisa"),
		"sponsorship": object{
			"node_id": "S_1", "created_at": "2026-03-01T00:00:00+00:00", "privacy_level": "public",
			"maintainer": user(1, "octocat"), "sponsorable": orNull{user(1, "octocat")},
			"sponsor": orNull{user(2, "monalisa")}, "tier": sponsorshipTier(),
		},
	}
}

func sponsorshipTier() object {
	return object{
		"node_id": "ST_1", "created_at": "2026-01-01T00:00:00Z", "description": "thanks",
		"monthly_price_in_cents": 500, "monthly_price_in_dollars": 5, "name": "$5 a month",
		"is_one_time": false, "is_custom_amount": false,
	}
}

func installed() object {
	return object{
		"sender": user(9, "somebody"),
		"installation": object{
			"id": 5, "account": user(1, "acme"), "repository_selection": "selected",
			"access_tokens_url": "https://api.github.com/app/installations/5/access_tokens",
			"repositories_url":  "https://api.github.com/installation/repositories",
			"html_url":          "https://github.com/settings/installations/5",
			"app_id":            4711, "app_slug": "pageflare-license", "target_id": 1, "target_type": "User",
			"permissions": object{"metadata": "read", "secrets": "write"}, "events": []string{"repository"},
			"created_at": stamp("2026-03-01T00:00:00Z"), "updated_at": stamp("2026-03-01T00:00:00Z"),
			"single_file_name": orNull{}, "suspended_by": orNull{}, "suspended_at": orNull{},
		},
	}
}

func installedIn(changed, other string) func() object {
	return with(installed, "repository_selection", "selected", "requester", orNull{},
		changed, []object{repositoryLite()}, other, []object{})
}

func renamedTarget() object {
	return object{
		"account": user(1, "acme"), "changes": object{"login": object{"from": "acme-old"}},
		"installation": object{"id": 5, "node_id": "I_1"}, "target_type": "Organization",
		"sender": user(9, "somebody"),
	}
}

func repositoryLite() object {
	return object{"id": 7, "node_id": "R_1", "name": "site", "full_name": "acme/site", "private": false}
}

// repositoryURLs are the addresses of a repository beside url.
var repositoryURLs = []string{
	"html", "archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits",
	"compare", "contents", "contributors", "deployments", "downloads", "events", "forks",
	"git_commits", "git_refs", "git_tags", "git", "issue_comment", "issue_events", "issues", "keys",
	"labels", "languages", "merges", "milestones", "notifications", "pulls", "releases", "ssh",
	"stargazers", "statuses", "subscribers", "subscription", "tags", "teams", "trees", "clone",
	"hooks", "svn",
}

func ofRepository() object {
	r := object{
		"id": 7, "node_id": "R_1", "name": "site", "full_name": "acme/site", "private": false,
		"owner": user(1, "acme"), "url": "https://api.github.com/repos/acme/site",
		"description": orNull{"a site"}, "fork": false, "license": orNull{}, "homepage": orNull{},
		"language": orNull{"HTML"}, "mirror_url": orNull{}, "default_branch": "main", "size": 12,
		"created_at": orNull{"2026-01-01T00:00:00Z"}, "updated_at": orNull{"2026-03-01T00:00:00Z"},
		"pushed_at": orNull{"2026-03-01T00:00:00Z"}, "archived": false, "disabled": false,
		"has_issues": true, "has_projects": true, "has_wiki": true, "has_pages": false,
		"has_downloads": true, "is_template": false, "web_commit_signoff_required": false,
		"topics": []string{}, "visibility": "public", "custom_properties": object{},
	}
	for _, name := range []string{"forks", "stargazers", "watchers", "open_issues"} {
		r[name+"_count"] = 0
		if name != "stargazers" {
			r[name] = 0
		}
	}
	for _, name := range repositoryURLs {
		r[name+"_url"] = "https://api.github.com/repos/acme/site/" + name
	}
	return object{"repository": r, "sender": user(9, "somebody")}
}

func ofOrganization() object {
	o := object{
		"login": "acme", "id": 1, "node_id": "O_1", "url": "https://api.github.com/orgs/acme",
		"description": orNull{"who makes everything"},
	}
	for _, name := range []string{
		"repos", "events", "hooks", "issues", "members", "public_members", "avatar",
	} {
		o[name+"_url"] = "https://api.github.com/orgs/acme/" + name
	}
	membership := object{
		"url": "https://api.github.com/orgs/acme/memberships/somebody", "state": "active",
		"role": "admin", "organization_url": "https://api.github.com/orgs/acme",
		"user": orNull{user(9, "somebody")},
	}
	return object{"organization": o, "membership": membership, "sender": user(9, "somebody")}
}

func alerted() object {
	const url = "https://api.github.com/repos/acme/site/secret-scanning/alerts/1"
	members := ofRepository()
	members["alert"] = object{
		"number": 1, "created_at": "2026-03-01T00:00:00Z", "updated_at": orNull{}, "url": url,
		"html_url": "https://github.com/acme/site/security/secret-scanning/1", "state": "open",
		"locations_url": url + "/locations", "secret_type": "pageflare_token",
		"resolution": orNull{}, "resolved_at": orNull{}, "resolved_by": orNull{},
		"validity": "unknown", "publicly_leaked": orNull{false}, "multi_repo": orNull{false},
	}
	members["installation"] = object{"id": 5, "node_id": "I_1"}
	return members
}
