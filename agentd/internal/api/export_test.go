package api

// Refusal is what a test may know of a refusal.
type Refusal struct {
	Status int
	Error  string
}

// Refusals returns the table of refusals.
func Refusals() (out []Refusal) {
	for _, r := range refusals {
		out = append(out, Refusal{r.status, r.Error})
	}
	return out
}
