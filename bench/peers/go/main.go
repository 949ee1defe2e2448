// The net package: a goroutine a connection, each with a buffer of its own, all on one thread of Go code.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
)

// bufferLen is how many bytes one read can bring.
const bufferLen = 64 * 1024

func main() {
	address := flag.String("listen", "127.0.0.1:8080", "where to listen; port 0 for any")
	threads := flag.Int("threads", 1, "how many threads run Go code")
	flag.Parse()
	if flag.NArg() > 0 {
		fail(fmt.Errorf("%s: no such argument", flag.Arg(0)))
	}
	if *threads < 1 {
		fail(fmt.Errorf("--threads %d: expected a number from 1", *threads))
	}
	runtime.GOMAXPROCS(*threads)
	if err := serve(*address); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
	os.Exit(1)
}

// serve accepts until that fails. Accepted connections have TCP_NODELAY, as the package sets it.
func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go echo(connection)
	}
}

// echo ends with the connection. A write returns when everything is written, and nothing is read meanwhile.
func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, bufferLen)
	for {
		count, err := connection.Read(buffer)
		if count > 0 {
			if _, err := connection.Write(buffer[:count]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
