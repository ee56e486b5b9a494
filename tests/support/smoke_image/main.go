// The only program in the smoke test's image: a web server to talk to, and the few questions that its pods ask.
//
//	smoke serve            answers every request with the name of its host, and logs it
//	smoke get URL...       fetches each, prints what it answers
//	smoke lookup NAME...   prints the addresses of each name
//	smoke write FILE TEXT  writes a file
//	smoke read FILE        prints a file
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	port        = ":8080"
	attempts    = 5 // a rule of kube-proxy or an answer of CoreDNS may be a second away
	pause       = time.Second
	oneAnswerIn = 5 * time.Second
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("what to do? serve, get, lookup, write or read")
	}
	switch what, rest := arguments[0], arguments[1:]; what {
	case "serve":
		return serve()
	case "get":
		return each(rest, get)
	case "lookup":
		return each(rest, lookup)
	case "write":
		return os.WriteFile(rest[0], []byte(strings.Join(rest[1:], " ")), 0o644)
	case "read":
		content, err := os.ReadFile(rest[0])
		fmt.Print(string(content))
		return err
	default:
		return fmt.Errorf("%q is not serve, get, lookup, write or read", what)
	}
}

func serve() error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Println("serving on", port)
	return http.ListenAndServe(port, http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		fmt.Println(request.RemoteAddr, request.URL.Path)
		fmt.Fprint(answer, host)
	}))
}

func each(questions []string, ask func(string) (string, error)) error {
	for _, question := range questions {
		answer, err := ask(question)
		for attempt := 1; err != nil && attempt < attempts; attempt++ {
			time.Sleep(pause)
			answer, err = ask(question)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", question, err)
		}
		fmt.Println(answer)
	}
	return nil
}

func get(url string) (string, error) {
	client := http.Client{Timeout: oneAnswerIn}
	answer, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return string(body), err
}

func lookup(name string) (string, error) {
	within, cancel := context.WithTimeout(context.Background(), oneAnswerIn)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(within, name)
	return strings.Join(addresses, " "), err
}
