package admin

import (
	"fmt"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/rotation"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

var rotationID = route.OfKind("id", opaque.OfRotation, fmt.Errorf("rotation: %w", failure.ErrNotFound))

// listRotations answers GET /_api/admin/rotations.
func (h *Handlers) listRotations(c *gin.Context) error {
	cursor, limit, query, err := route.List(c, "account", "repository")
	if err != nil {
		return err
	}
	found, err := h.Rotation.Rotations(c.Request.Context(), rotation.Query{
		Account: query.Get("account"), Repository: query.Get("repository"), After: cursor, Limit: limit + 1,
	})
	return route.Answer(c, func(list []rotation.Rotation) api.RotationPage {
		return show.Rotations(list, limit, h.Now())
	}, found, err)
}

// getRotation answers GET /_api/admin/rotations/{id}.
func (h *Handlers) getRotation(c *gin.Context) error {
	found, err := h.Rotation.Rotation(c.Request.Context(), c.Param("id"))
	return route.Answer(c, h.showRotation, found, err)
}

func (h *Handlers) showRotation(r rotation.Rotation) api.Rotation { return show.Rotation(r, h.Now()) }

// addRotation answers POST /_api/admin/rotations.
func (h *Handlers) addRotation(c *gin.Context) error {
	var in api.NewRotation
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	if !opaque.OfAccount.Fits(in.Account) {
		return accountID.Refusal
	}
	n := rotation.NewRotation{
		Account: in.Account, Repository: in.Repository, Organization: in.Organization, Targets: in.Targets, SecretName: in.SecretName,
	}
	ctx, end := h.Extend(c, lookupTime)
	defer end()
	add := h.Rotation.Add
	if in.DryRun {
		add = h.Rotation.Check
	}
	made, err := add(ctx, n)
	return route.Answer(c, h.showRotation, made, oneLine(err))
}

// oneLine is an error in one line, for the message of an answer.
func oneLine(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 1 {
		return failure.Invalid(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return err
}

// hurryRotation answers POST /_api/admin/rotations/{id}/run.
func (h *Handlers) hurryRotation(c *gin.Context) error {
	found, err := h.Rotation.HurryOne(c.Request.Context(), c.Param("id"))
	return route.Answer(c, h.showRotation, found, err)
}

// removeRotation answers DELETE /_api/admin/rotations/{id}.
func (h *Handlers) removeRotation(c *gin.Context) error {
	withTokens, err := route.Flag(c, "with_tokens")
	if err != nil {
		return err
	}
	families, err := h.Rotation.Remove(c.Request.Context(), c.Param("id"), withTokens)
	return route.Answer(c, func(families int64) api.RemovedRotation {
		return api.RemovedRotation{ID: c.Param("id"), Status: "removed", FamiliesRevoked: families}
	}, families, err)
}
