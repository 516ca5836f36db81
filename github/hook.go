package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	gh "github.com/google/go-github/v60/github"
)

// A HookDelivery is an attempt of GitHub's to deliver an event to the webhook of an App.
type HookDelivery struct {
	ID   int64  // of the attempt
	GUID string // of the event: the same for every attempt
	At   time.Time
	OK   bool // the receiver answered with success
}

// HookDeliveries returns a page of the attempts to deliver events to the webhook of the App whose
// client this is, newest first, and the cursor of the next page; "": there is none. The error is an
// *Error.
// https://docs.github.com/en/rest/apps/webhooks#list-deliveries-for-an-app-webhook
func (c *Client) HookDeliveries(ctx context.Context, cursor string) (list []HookDelivery, next string, err error) {
	query := url.Values{"per_page": {"100"}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	var found []*gh.HookDelivery
	resp, err := c.Call(ctx, http.MethodGet, "app/hook/deliveries?"+query.Encode(), nil, &found)
	if err != nil {
		return nil, "", Explain(ctx, err)
	}
	for _, d := range found {
		list = append(list, HookDelivery{
			ID: d.GetID(), GUID: d.GetGUID(), At: d.GetDeliveredAt().Time, OK: d.GetStatusCode() >= 200 && d.GetStatusCode() < 300,
		})
	}
	return list, resp.Cursor, nil
}

// Redeliver asks GitHub to deliver an event again; GitHub does so a moment later. The error is an
// *Error.
// https://docs.github.com/en/rest/apps/webhooks#redeliver-a-delivery-for-an-app-webhook
func (c *Client) Redeliver(ctx context.Context, id int64) error {
	_, err := c.Call(ctx, http.MethodPost, fmt.Sprintf("app/hook/deliveries/%d/attempts", id), nil, nil)
	if errors.As(err, new(*gh.AcceptedError)) {
		return nil
	}
	if err != nil {
		return Explain(ctx, err)
	}
	return nil
}

// A MarketplaceAccount is who has bought a plan of the App's Marketplace listing, in GitHub's words.
type MarketplaceAccount struct {
	ID           int64  `json:"id"`
	Login        string `json:"login"`
	Email        string `json:"email"`
	BillingEmail string `json:"organization_billing_email"`
	Purchase     *struct {
		Cycle       string           `json:"billing_cycle"`
		NextBilling string           `json:"next_billing_date"`
		Units       int64            `json:"unit_count"`
		OnTrial     bool             `json:"on_free_trial"`
		TrialEnds   string           `json:"free_trial_ends_on"`
		Plan        *MarketplacePlan `json:"plan"`
	} `json:"marketplace_purchase"`
}

// A MarketplacePlan is a plan of the App's Marketplace listing, in GitHub's words.
type MarketplacePlan struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Monthly int64  `json:"monthly_price_in_cents"`
	Yearly  int64  `json:"yearly_price_in_cents"`
}

const marketplace = "marketplace_listing/"

// MarketplaceAccounts returns everyone who has a plan of the Marketplace listing of the App whose
// client this is. The error is an *Error; NotFound: it has no listing.
// https://docs.github.com/en/rest/apps/marketplace#list-accounts-for-a-plan
func (c *Client) MarketplaceAccounts(ctx context.Context) ([]MarketplaceAccount, error) {
	plans, err := allPages[MarketplacePlan](ctx, c, marketplace+"plans")
	if err != nil {
		return nil, err
	}
	var all []MarketplaceAccount
	for _, p := range plans {
		list, err := allPages[MarketplaceAccount](ctx, c, fmt.Sprintf("%splans/%d/accounts", marketplace, p.ID))
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// MarketplaceAccount returns what an account of GitHub has bought. The error is an *Error; NotFound:
// nothing.
// https://docs.github.com/en/rest/apps/marketplace#get-a-subscription-plan-for-an-account
func (c *Client) MarketplaceAccount(ctx context.Context, id int64) (a MarketplaceAccount, err error) {
	if _, err = c.Call(ctx, http.MethodGet, fmt.Sprintf("%saccounts/%d", marketplace, id), nil, &a); err != nil {
		return a, Explain(ctx, err)
	}
	return a, nil
}

// maxPages bounds a list: 100,000 items.
const maxPages = 1000

func allPages[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	var all []T
	for page := 1; page <= maxPages; {
		var list []T
		resp, err := c.Call(ctx, http.MethodGet, fmt.Sprintf("%s?page=%d&per_page=100", path, page), nil, &list)
		if err != nil {
			return nil, Explain(ctx, err)
		}
		all = append(all, list...)
		if resp.NextPage <= page {
			return all, nil
		}
		page = resp.NextPage
	}
	return nil, &Error{Kind: Unusable, Message: "GitHub lists more than is plausible at " + path}
}

// A Sponsorship is what a sponsor gives a maintainer.
type Sponsorship struct {
	NodeID    string
	CreatedAt time.Time
	SponsorID int64 // of the account of GitHub; 0: GitHub does not tell
	Login     string
	Tier      string // its name
	Cents     int64
	Once      bool
}

const sponsorshipsQuery = `query($login: String!, $after: String) { repositoryOwner(login: $login) { ... on Sponsorable {
 sponsorshipsAsMaintainer(first: 100, after: $after, activeOnly: true, includePrivate: true) { pageInfo { hasNextPage endCursor }
 nodes { id createdAt isOneTimePayment sponsorEntity { ... on User { databaseId login } ... on Organization { databaseId login } }
 tier { name monthlyPriceInCents } } } } } }`

// Sponsorships returns the active sponsorships of a maintainer, private ones too where the token of
// the client is the maintainer's. The error is an *Error.
// https://docs.github.com/en/graphql/reference/objects#sponsorship
func (c *Client) Sponsorships(ctx context.Context, maintainer string) ([]Sponsorship, error) {
	var all []Sponsorship
	after := (*string)(nil)
	for range maxPages {
		var out sponsorshipsAnswer
		ask := map[string]any{"query": sponsorshipsQuery, "variables": map[string]any{"login": maintainer, "after": after}}
		if _, err := c.Call(ctx, http.MethodPost, "graphql", ask, &out); err != nil {
			return nil, Explain(ctx, err)
		}
		if len(out.Errors) > 0 || out.Data.Owner == nil || out.Data.Owner.List == nil {
			said := "there is no maintainer of that name"
			if len(out.Errors) > 0 {
				said = Plain(out.Errors[0].Message)
			}
			return nil, &Error{Kind: Refused, Status: http.StatusOK, Said: said,
				Message: fmt.Sprintf("GitHub does not tell the sponsorships of %s: %s", url.PathEscape(maintainer), said)}
		}
		list := out.Data.Owner.List
		for _, n := range list.Nodes {
			all = append(all, n.sponsorship())
		}
		if !list.Page.More || list.Page.End == "" {
			return all, nil
		}
		after = &list.Page.End
	}
	return nil, &Error{Kind: Unusable, Message: "GitHub lists more sponsorships than is plausible"}
}

type sponsorshipsAnswer struct {
	Data struct {
		Owner *struct {
			List *struct {
				Page struct {
					More bool   `json:"hasNextPage"`
					End  string `json:"endCursor"`
				} `json:"pageInfo"`
				Nodes []sponsorshipNode `json:"nodes"`
			} `json:"sponsorshipsAsMaintainer"`
		} `json:"repositoryOwner"`
	} `json:"data"`
	Errors []struct {
		Message string `json:"message"`
	} `json:"errors"`
}

type sponsorshipNode struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
	Once      bool      `json:"isOneTimePayment"`
	Sponsor   *struct {
		ID    int64  `json:"databaseId"`
		Login string `json:"login"`
	} `json:"sponsorEntity"`
	Tier *struct {
		Name  string `json:"name"`
		Cents int64  `json:"monthlyPriceInCents"`
	} `json:"tier"`
}

func (n sponsorshipNode) sponsorship() Sponsorship {
	s := Sponsorship{NodeID: n.ID, CreatedAt: n.CreatedAt, Once: n.Once}
	if n.Sponsor != nil {
		s.SponsorID, s.Login = n.Sponsor.ID, Plain(n.Sponsor.Login)
	}
	if n.Tier != nil {
		s.Tier, s.Cents = Plain(n.Tier.Name), n.Tier.Cents
	}
	return s
}

// Me is the login of the account whose token the client has. The error is an *Error.
// https://docs.github.com/en/rest/users/users#get-the-authenticated-user
func (c *Client) Me(ctx context.Context) (login string, err error) {
	me := new(gh.User)
	_, err = c.Call(ctx, http.MethodGet, "user", nil, me)
	if err != nil {
		return "", Explain(ctx, err)
	}
	return Plain(me.GetLogin()), nil
}
