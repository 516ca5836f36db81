package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pageflare/ci/github/secret"
)

// A check says what a run would do, and proves by GET requests alone that it could: nothing is
// refreshed, exchanged, written or exported.

// checkIdentity proves that the job can show an identity, and does not show it to anybody.
func (r *run) checkIdentity(ctx context.Context) {
	identity, err := r.identity(ctx)
	if err != nil {
		r.notExchanged(err)
		return
	}
	r.mask(identity)
	r.state, r.reason = StateMissing, "no license token is stored; a run would exchange the identity of this job for one at "+r.cfg.APIURL
	r.gha.Infof("License token: %s", r.reason)
}

// check looks whether a refreshed token could be stored in every target.
func (r *run) check(ctx context.Context) {
	switch {
	case r.cfg.Untrusted != "":
		r.gha.Noticef("The rights to write the secret are not checked: %s, and such a run must not write secrets.", r.cfg.Untrusted)
		return
	case r.credential():
	case r.cfg.Guest != "":
		r.gha.Noticef("The rights to write the secret are not checked: %s.", r.cfg.Guest)
		return
	case r.cfg.Token == "" && r.meantKeyless():
		r.gha.Infof("A token that is exchanged for an identity is not stored, so no rights are needed.")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeBudget)
	defer cancel()
	w, err := r.writer()
	if err != nil {
		for _, t := range r.cfg.Targets {
			r.findings = append(r.findings, secret.Finding{Target: t, Err: err})
		}
		r.trouble("a refreshed token could not be stored: " + err.Error())
		return
	}
	defer r.closeWriter(ctx, w)
	r.findings = w.Check(ctx, r.cfg.Targets, r.cfg.SecretName)
	var failed, unknown []error
	for i, f := range r.findings {
		r.findings[i].Err = r.advise(f.Err)
		switch err := r.findings[i].Err; {
		case silent(err):
			unknown = append(unknown, err)
		case err != nil:
			failed = append(failed, err)
		default:
			r.gha.Infof("Secret %s, %s: %s.", r.cfg.SecretName, f.Target, finding(f))
		}
	}
	if len(failed) > 0 {
		r.trouble("a refreshed token could not be stored" + reasons(failed, len(r.findings)))
	}
	if len(unknown) > 0 {
		r.trouble("whether a refreshed token could be stored is not known, since GitHub did not answer" + reasons(unknown, len(unknown)))
	}
	r.warnOfTokenExpiry(w)
	r.warnOfShadows(w.CheckShadows(ctx, r.cfg.Targets, r.cfg.SecretName))
}

// silent tells whether an error of a check says nothing about the right: GitHub did not answer.
func silent(err error) bool {
	e, ok := errors.AsType[*secret.Error](err)
	return ok && e.Silent()
}

// finding says in words what a check found out about a target that it could read.
func finding(f secret.Finding) string {
	text := "may be written"
	if !f.Proven {
		text = "may be read; whether it may be written shows only when it is"
	}
	switch {
	case f.Exists && f.Access != "":
		text += fmt.Sprintf("; was last written on %s; who may read it: %s", day(f.UpdatedAt), f.Access)
	case f.Exists:
		text += "; was last written on " + day(f.UpdatedAt)
	case f.Known:
		text += "; is not there yet"
	}
	return text
}
