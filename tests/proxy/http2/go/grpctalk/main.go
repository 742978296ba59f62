// Calls of gRPC by grpc-go, for test_grpc_go.py: a server, and a client by its word.
//
// usage: grpctalk serve           tells its port, serves until its input ends
//        grpctalk PORT WHAT COUNT SIZE
//
// Messages are bytes as they are. An error ends it with status 2.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

const host = "app.example.com"

var both = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

type plain struct{}

func (plain) Marshal(v interface{}) ([]byte, error)      { return *(v.(*[]byte)), nil }
func (plain) Unmarshal(data []byte, v interface{}) error { *(v.(*[]byte)) = data; return nil }
func (plain) Name() string                               { return "plain" }
func (plain) String() string                             { return "plain" }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func wants(err error, code codes.Code) {
	if status.Code(err) != code {
		panic(fmt.Sprintf("%v instead of %v", err, code))
	}
}

// answer serves any method: echo and talk give back what comes, down sends as much as
// is asked for, up counts, hang waits.
func answer(_ interface{}, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	got := 0
	for {
		var in []byte
		err := stream.RecvMsg(&in)
		if err == io.EOF && method == "/test/up" {
			in = []byte(strconv.Itoa(got))
			return stream.SendMsg(&in)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		got += len(in)
		switch method {
		case "/test/echo", "/test/talk":
			if err := stream.SendMsg(&in); err != nil {
				return err
			}
		case "/test/down":
			count, size := 0, 0
			fmt.Sscan(string(in), &count, &size)
			piece := make([]byte, size)
			for i := 0; i < count; i++ {
				if err := stream.SendMsg(&piece); err != nil {
					return err
				}
			}
		case "/test/hang":
			<-stream.Context().Done()
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := grpc.NewServer(grpc.UnknownServiceHandler(answer), grpc.CustomCodec(plain{}))
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	must(server.Serve(listener))
}

func echo(ctx context.Context, client *grpc.ClientConn, method string) error {
	in, out := []byte("hi"), []byte{}
	err := client.Invoke(ctx, method, &in, &out)
	if err == nil && string(out) != "hi" {
		panic("another answer than was asked for")
	}
	return err
}

func open(ctx context.Context, client *grpc.ClientConn, method string) grpc.ClientStream {
	stream, err := client.NewStream(ctx, both, method)
	must(err)
	return stream
}

func talk(ctx context.Context, client *grpc.ClientConn, what string, count, size int) {
	piece := make([]byte, size)
	var out []byte
	switch what {
	case "unary":
		for i := 0; i < count; i++ {
			must(echo(ctx, client, "/test/echo"))
		}
	case "talk":
		stream := open(ctx, client, "/test/talk")
		for i := 0; i < count; i++ {
			must(stream.SendMsg(&piece))
			must(stream.RecvMsg(&out))
		}
		must(stream.CloseSend())
		if err := stream.RecvMsg(&out); err != io.EOF {
			panic(err)
		}
	case "down":
		stream := open(ctx, client, "/test/down")
		in := []byte(fmt.Sprint(count, size))
		must(stream.SendMsg(&in))
		must(stream.CloseSend())
		for i := 0; i < count; i++ {
			must(stream.RecvMsg(&out))
		}
		if err := stream.RecvMsg(&out); err != io.EOF {
			panic(err)
		}
	case "up":
		stream := open(ctx, client, "/test/up")
		for i := 0; i < count; i++ {
			err := stream.SendMsg(&piece)
			if err == io.EOF { // the call has ended: why, its status says
				err = stream.RecvMsg(&out)
			}
			must(err)
		}
		must(stream.CloseSend())
		must(stream.RecvMsg(&out))
		if string(out) != strconv.Itoa(count*size) {
			panic("counted " + string(out))
		}
	case "cancel":
		for i := 0; i < count; i++ {
			one, cancel := context.WithCancel(ctx)
			stream := open(one, client, "/test/talk")
			must(stream.SendMsg(&piece))
			must(stream.RecvMsg(&out))
			cancel()
			wants(stream.RecvMsg(&out), codes.Canceled)
		}
	case "deadline":
		for i := 0; i < count; i++ {
			one, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			wants(echo(one, client, "/test/hang"), codes.DeadlineExceeded)
			cancel()
		}
	}
	must(echo(ctx, client, "/test/echo"))
}

func main() {
	if os.Args[1] == "serve" {
		serve()
		return
	}
	count, err := strconv.Atoi(os.Args[3])
	must(err)
	size, err := strconv.Atoi(os.Args[4])
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	secure := credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, ServerName: host})
	client, err := grpc.DialContext(
		ctx, "127.0.0.1:"+os.Args[1], grpc.WithBlock(), grpc.WithAuthority(host),
		grpc.WithTransportCredentials(secure),
		grpc.WithDefaultCallOptions(grpc.CallCustomCodec(plain{})),
	)
	must(err)
	talk(ctx, client, os.Args[2], count, size)
}
