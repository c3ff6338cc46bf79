package testbed

import "errors"

// undo is a stack of steps that undo what was made. The zero value is
// empty and ready to use.
type undo struct {
	steps []func() error
}

// push puts a step on the stack. Call it before the thing is made if the step
// succeeds without the thing, and right after it otherwise.
func (u *undo) push(step func() error) { u.steps = append(u.steps, step) }

// run undoes everything, the newest first. Each step runs, even if an earlier
// one failed; a second call does nothing.
func (u *undo) run() error {
	var errs []error
	for len(u.steps) > 0 {
		last := len(u.steps) - 1
		step := u.steps[last]
		u.steps = u.steps[:last]
		errs = append(errs, step())
	}
	return errors.Join(errs...)
}
