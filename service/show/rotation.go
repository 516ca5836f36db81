package show

import (
	"strconv"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/rotation"
)

// Rotation is a rotation as it is at now.
func Rotation(r rotation.Rotation, now time.Time) api.Rotation {
	out := api.Rotation{
		ID: r.ID, Account: r.AccountID, Repository: r.Repository, Owner: r.Owner, OwnerID: strconv.FormatInt(r.OwnerID, 10), SecretName: r.SecretName,
		CreatedAt: Time(r.CreatedAt), Reason: r.Stopped,
		Targets: Each(r.Targets, func(t rotation.Target) api.RotationTarget { return rotationTarget(r, t, now) }),
	}
	if r.RepositoryID != 0 {
		out.RepositoryID = strconv.FormatInt(r.RepositoryID, 10)
	}
	if err := r.Paused(now); err != nil && r.Stopped == "" {
		out.Reason = err.Error()
	}
	return out
}

func rotationTarget(r rotation.Rotation, t rotation.Target, now time.Time) api.RotationTarget {
	out := api.RotationTarget{Target: t.Name, State: string(r.StateOf(t, now)), Jti: string(t.JTI), WrittenAt: Optional(t.WrittenAt)}
	if t.JTI != "" {
		out.ExpiresAt = Optional(t.ExpiresAt)
	}
	if s := rotation.State(out.State); t.Due.After(now) && (s == rotation.Fresh || s == rotation.Failing) {
		out.NextAt = Optional(t.Due)
	}
	out.Failure = RotationFailure(t.Failure)
	return out
}

// RotationFailure is why a try failed; nil when it did not.
func RotationFailure(f *rotation.Failure) *api.RotationFailure {
	if f == nil {
		return nil
	}
	return &api.RotationFailure{Code: string(f.Code), Message: f.Text, Remedy: f.Remedy, Since: Time(f.Since), Attempts: int64(f.Attempts)}
}

// Rotations is a page of rotations as they are at now.
func Rotations(list []rotation.Rotation, limit int, now time.Time) api.RotationPage {
	list, next := cut(list, limit, func(r rotation.Rotation) string { return r.ID })
	return api.RotationPage{NextCursor: next, Items: Each(list, func(r rotation.Rotation) api.Rotation { return Rotation(r, now) })}
}
