package store_test

import (
	"os"
	"testing"

	"github.com/pageflare/ci/service/store/postgrestest"
	"github.com/pageflare/ci/service/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Run(m)) }

func TestPostgresKeepsThePromisesOfAStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, postgrestest.New(t)) })
}
