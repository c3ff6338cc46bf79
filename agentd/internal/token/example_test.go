package token_test

import (
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/agentd/internal/token"
)

func Example() {
	minted := token.Mint(8200)
	fmt.Println(minted) // no secret

	sent, err := token.Parse(minted.Reveal())
	fmt.Println(sent.VMID(), err, sent.Digest().Equal(minted.Digest()))

	_, err = token.Parse("fgt_8200_typo")
	fmt.Println(errors.Is(err, token.ErrMalformed))
	// Output:
	// fgt_8200_[redacted]
	// 8200 <nil> true
	// true
}
