package server

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// The Admin API does over HTTP what the commands do on the database: the same acts of service/license, one handler each.

// answer writes what an act gave, or hands on its error.
func answer[T, U any](c *gin.Context, show func(T) U, got T, err error) error {
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, show(got))
	return nil
}

// cut takes the first limit of a list that was asked for one longer, and tells by the last one's id where the next page begins: "" when this
// is the last page.
func cut[T any](list []T, limit int, id func(T) string) ([]T, string) {
	if len(list) <= limit {
		return list, ""
	}
	list = list[:limit]
	return list, id(list[limit-1])
}

// life reads a duration such as 72h; "" is 0.
func life(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, unfit("ttl is not a duration: give hours, such as 168h")
	}
	return d, nil
}

// flag reads the one parameter that a route has, true or false.
func flag(c *gin.Context, name string) (bool, error) {
	query, err := parameters(c, name)
	if err != nil {
		return false, err
	}
	switch query.Get(name) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, unfit("%s is neither true nor false", name)
}
