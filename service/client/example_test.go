package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/client"
)

// shown in docs/api.md
func suspendFree(ctx context.Context, c *client.Client, adminToken string) error {
	admin := c.Admin(adminToken)
	for account, err := range admin.ListAccounts(ctx, api.ListAccountsParams{}) {
		if err != nil {
			return err
		}
		if account.Tier != "free" {
			continue
		}
		_, err := admin.SuspendAccount(ctx, account.ID)
		var e *client.Error
		if errors.As(err, &e) && e.Code == api.CodeNotFound {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func ExampleClient_Admin() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.Method + " " + r.URL.Path {
		case "GET /_api/admin/accounts":
			fmt.Fprint(w, `{"items":[{"id":"user_1","tier":"pro"},{"id":"user_2","tier":"free"},{"id":"user_3","tier":"free"}]}`)
		case "POST /_api/admin/accounts/user_3/suspend":
			fmt.Println("suspended user_3")
			fmt.Fprint(w, `{"id":"user_3","tier":"free","status":"suspended"}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"Not Found","code":"not_found","message":"there is no such account"}`)
		}
	}))
	defer service.Close()
	c, err := client.New(client.Config{BaseURL: service.URL + "/_api"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(suspendFree(context.Background(), c, "pf_adm_EXAMPLE"))
	// Output:
	// suspended user_3
	// <nil>
}
