// Package parked keeps connections whose HTTP request waits long for its answer. While a handler waits, net/http needs two
// goroutines and three buffers for the connection, 24 KiB in all. A Lot takes such a connection over: it is watched together
// with all others (readbuf.Alarm), the answer is written without net/http, and what comes after that goes to the same
// http.Server again. To the browser nothing happens.
//
// Only connections of HTTP/1.1 that live on after the answer can be taken, with or without TLS.
package parked
