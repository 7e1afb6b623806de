import type { Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addressOf, callerAt } from '../../../src/control/caller.js';

test('loopback addresses and unix sockets are of this machine, others are not', () => {
  for (const address of ['', '127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1']) {
    assert.ok(callerAt(address).local, address);
  }
  for (const address of ['10.0.0.1', '::ffff:10.0.0.1', 'fe80::1', '0.0.0.0', 'unknown', 'localhost']) {
    assert.not(callerAt(address).local, address);
  }
});

test('a connection to an address of this machine from that address is of this machine', () => {
  const caller = (remoteAddress: string) =>
    callerAt(addressOf({ remoteAddress, localAddress: '10.0.0.2', destroyed: false } as Socket));
  assert.ok(caller('10.0.0.2').local);
  assert.not(caller('10.0.0.1').local);
});

test('a connection that was reset before it was looked at comes from anywhere', () => {
  const socket = (fields: Partial<Socket>) => fields as Socket;
  assert.is(addressOf(socket({ remoteAddress: '10.0.0.1', destroyed: false })), '10.0.0.1');
  assert.is(addressOf(socket({ destroyed: false })), '');
  assert.not(callerAt(addressOf(socket({ localAddress: '10.0.0.2', destroyed: false }))).local);
  assert.not(callerAt(addressOf(socket({ destroyed: true }))).local);
});

test.run();
