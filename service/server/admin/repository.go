package admin

import (
	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// listRepositories answers GET /_api/admin/repositories.
func (h *Handlers) listRepositories(c *gin.Context) error {
	cursor, limit, query, err := route.List(c, "account", "unused_since")
	if err != nil {
		return err
	}
	q := license.RepositoryQuery{Account: query.Get("account"), Limit: limit + 1}
	if q.After, err = license.ParseRepositoryKey(cursor); err != nil {
		return err
	}
	if q.UnusedSince, err = moment(query, "unused_since"); err != nil {
		return err
	}
	found, err := h.Jobs.Repositories(c.Request.Context(), q)
	return route.Answer(c, func(list []license.Repository) api.RepositoryPage {
		return show.Repositories(list, limit)
	}, found, err)
}
