package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
)

// question is what operators ask of a database with many records, by a command or by the API.
type question struct {
	name string
	once bool // it takes long
	ask  func(ctx context.Context, p *parts.Parts) error
}

// page is how much a question lists.
const page = 100

// questions are asked about the newest records and about an old token, which is named by few
// records among all.
func questions(old opaque.TokenID) []question {
	lines := func(name string, q audit.Query) question {
		q.Limit = page
		return question{name: name, ask: func(ctx context.Context, p *parts.Parts) error {
			found, err := p.Log.Lines(ctx, q)
			if err == nil && len(found) == 0 {
				err = errors.New("found nothing")
			}
			return err
		}}
	}
	return []question{
		{name: "token show, an old one", ask: func(ctx context.Context, p *parts.Parts) error {
			_, err := p.Licenses.Token(ctx, string(old))
			return err
		}},
		{name: "token list, a page", ask: func(ctx context.Context, p *parts.Parts) error {
			_, err := p.Licenses.Tokens(ctx, license.TokenQuery{Limit: page})
			return err
		}},
		lines("audit list, a page", audit.Query{}),
		lines("audit list by an action, found at once", audit.Query{Action: audit.TokenRefreshed}),
		lines("audit list by an actor, an old token", audit.Query{Actor: string(old)}),
		{name: "key list, live tokens counted", ask: func(ctx context.Context, p *parts.Parts) error {
			_, err := p.Keys.Keys(ctx)
			return err
		}},
		{name: "audit verify, in full", once: true, ask: func(ctx context.Context, p *parts.Parts) error {
			_, err := p.Log.Verify(ctx, audit.Check{})
			return err
		}},
	}
}

// asked is how often a question is asked; the median counts.
const asked = 5

// ask prints how long questions take on the database with many records of each engine.
func (b *serviceBench) ask(ctx context.Context, made []sizes) error {
	text := [][]string{{fmt.Sprintf("with %d records", made[0].records)}}
	for _, q := range questions("") {
		text = append(text, []string{q.name})
	}
	for i, s := range b.setups {
		b.say("%s: questions …", s.engine.name())
		text[0] = append(text[0], s.engine.name())
		err := s.records.with(ctx, func(p *parts.Parts) error {
			for n, q := range questions(made[i].old) {
				took, err := q.time(ctx, p)
				if err != nil {
					return fmt.Errorf("%s: %w", q.name, err)
				}
				text[n+1] = append(text[n+1], milliseconds(float64(took)))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", s.engine.name(), err)
		}
	}
	fmt.Fprintln(b.out)
	printTable(b.out, text)
	return nil
}

func (q question) time(ctx context.Context, p *parts.Parts) (time.Duration, error) {
	var took []time.Duration
	for range asked {
		begun := time.Now()
		if err := q.ask(ctx, p); err != nil {
			return 0, err
		}
		if took = append(took, time.Since(begun)); q.once {
			break
		}
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
