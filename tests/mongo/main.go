// A MongoDB-wire engine for the tests: FerretDB with its SQLite backend, in a folder of its own.
//
//	mongo-wire <host:port> <folder>
//
// It prints `ready` once it answers, and ends with the process that started it (its standard input closes).
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: mongo-wire <host:port> <folder>")
		os.Exit(2)
	}
	address, folder := os.Args[1], os.Args[2]
	if err := run(address, folder); err != nil {
		fmt.Fprintln(os.Stderr, "mongo-wire:", err)
		os.Exit(1)
	}
}

func run(address, folder string) error {
	engine, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: address},
		Handler:   "sqlite",
		SQLiteURL: (&url.URL{Scheme: "file", Opaque: folder + "/"}).String(),
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	go announce(address)
	return engine.Run(ctx)
}

func announce(address string) {
	for {
		if connection, err := net.Dial("tcp", address); err == nil {
			_ = connection.Close()
			fmt.Println("ready")
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
