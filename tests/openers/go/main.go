// Command opener opens what Daypass seals, and seals what Daypass opens, with Go's crypto/hpke, which shares no code with it. It reads jobs
// as JSON from standard input, one after the other, and prints a line of JSON for each: {"plaintext": "..."} for a job with a private key,
// {"enc": "...", "ciphertext": "..."} for one with a public key, or {"error": "..."}. All bytes are in base64, as encoding/json has them.
package main

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

type job struct {
	PrivateKey []byte `json:"privateKey"`
	PublicKey  []byte `json:"publicKey"`
	Info       []byte `json:"info"`
	AAD        []byte `json:"aad"`
	Enc        []byte `json:"enc"`
	Ciphertext []byte `json:"ciphertext"`
	Plaintext  []byte `json:"plaintext"`
}

type answer struct {
	Plaintext  []byte `json:"plaintext,omitempty"`
	Enc        []byte `json:"enc,omitempty"`
	Ciphertext []byte `json:"ciphertext,omitempty"`
	Error      string `json:"error,omitempty"`
}

func main() {
	if err := work(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// work answers for each job of in on a line of out, in the same order.
func work(in io.Reader, out io.Writer) error {
	jobs, lines := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var next job
		switch err := jobs.Decode(&next); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading a job: %w", err)
		}
		done, err := do(next)
		if err != nil {
			done = answer{Error: err.Error()}
		}
		if err := lines.Encode(done); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
}

func do(next job) (answer, error) {
	kem, kdf, aead := hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305()
	if next.PublicKey != nil {
		key, err := kem.NewPublicKey(next.PublicKey)
		if err != nil {
			return answer{}, err
		}
		enc, sender, err := hpke.NewSender(key, kdf, aead, next.Info)
		if err != nil {
			return answer{}, err
		}
		ciphertext, err := sender.Seal(next.AAD, next.Plaintext)
		return answer{Enc: enc, Ciphertext: ciphertext}, err
	}
	key, err := kem.NewPrivateKey(next.PrivateKey)
	if err != nil {
		return answer{}, err
	}
	recipient, err := hpke.NewRecipient(next.Enc, key, kdf, aead, next.Info)
	if err != nil {
		return answer{}, err
	}
	plaintext, err := recipient.Open(next.AAD, next.Ciphertext)
	return answer{Plaintext: plaintext}, err
}
