// Command kstatus judges Kubernetes objects as GitOps tools do, by the library that they use. It reads objects as JSON from standard input,
// one after the other, and prints a line of JSON for each: {"status": "Current", "message": "..."}. It talks to no cluster.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := judge(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// judge answers for each object of in on a line of out, in the same order.
func judge(in io.Reader, out io.Writer) error {
	objects, lines := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var text json.RawMessage
		switch err := objects.Decode(&text); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading an object: %w", err)
		}
		// Not by encoding/json: the library wants whole numbers as such.
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(text); err != nil {
			return fmt.Errorf("reading an object: %w", err)
		}
		result, err := status.Compute(&object)
		if err != nil {
			return fmt.Errorf("judging %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if err := lines.Encode(verdict{Status: result.Status.String(), Message: result.Message}); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
}
