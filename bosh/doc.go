// Package bosh lets browsers reach an XMPP server by HTTP long polling: XEP-0124 1.11.2 and XEP-0206 1.4.
package bosh
