package server

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/webhook/in"
)

// hearGitHub answers POST /_api/webhooks/github. It reads the body itself: one that is not signed must
// not cost more than few others at a time may.
func (s *Server) hearGitHub(c *gin.Context) error {
	receipt, err := s.parts.Received.Receive(c.Request.Context(), c.Request.Header, c.Request.Body, c.Request.ContentLength)
	if errors.Is(err, in.ErrSignature) {
		return s.countRefusal(c, fmt.Errorf("%w: the signature of the webhook is not good", auth.ErrUnauthenticated))
	}
	if unread, ok := errors.AsType[*in.BodyError](err); ok {
		return bodyFault(c, unread.Err)
	}
	if errors.Is(err, in.ErrTooLarge) || errors.Is(err, in.ErrBusy) {
		c.Header("Connection", "close") // what is left of the body is not read
	}
	if err != nil {
		return err
	}
	if receipt.OldSecret {
		s.oldSecret.note(func() {
			s.log.Warn("a webhook of GitHub is signed with LICENSE_GITHUB_WEBHOOK_PREVIOUS_SECRET: change the secret at GitHub to the new one, then take the previous one out",
				"delivery", receipt.ID)
		}, s.now())
	}
	c.JSON(http.StatusAccepted, api.Received{ID: receipt.ID, State: string(receipt.State), Repeated: receipt.Repeated})
	return nil
}

// refusalsOfHooks is how refusals of webhooks look on the wire.
var refusalsOfHooks = []route.Refusal{
	with(in.ErrNoSecret, http.StatusNotFound, api.CodeNotFound),
	with(in.ErrForm, http.StatusUnsupportedMediaType, api.CodeUnsupportedMediaType),
	with(in.ErrTooLarge, http.StatusRequestEntityTooLarge, api.CodeRequestTooLarge),
	with(in.ErrBusy, http.StatusServiceUnavailable, api.CodeUnavailable),
}

// seldom does something once in an hour.
type seldom struct {
	mu   sync.Mutex
	last time.Time
}

func (s *seldom) note(do func(), now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && now.Sub(s.last) < time.Hour && !now.Before(s.last) {
		return
	}
	s.last = now
	do()
}
