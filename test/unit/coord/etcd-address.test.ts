import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { formatEtcdAddress, parseEtcdAddress, withoutPassword } from '../../../src/coord/etcd/address.js';

test('an address names members, a cluster, files and a user', () => {
  const text =
    'etcds://fo%40o:b%3Aar@a.example:2379,10.0.0.2:4001,[::1]:2379/blue?ca=/etc/ca.pem&cert=/c&key=/k';
  const address = parseEtcdAddress(text);
  assert.equal(address, {
    endpoints: ['a.example:2379', '10.0.0.2:4001', '[::1]:2379'],
    cluster: 'blue',
    tls: true,
    user: 'fo@o',
    password: 'b:ar',
    files: { ca: '/etc/ca.pem', cert: '/c', key: '/k' },
  });
  assert.is(formatEtcdAddress(address), text);
});

test('the port is 2379 when none is given, and a plain address has no TLS', () => {
  const address = parseEtcdAddress('etcd://a,b:1/x');
  assert.equal(address.endpoints, ['a:2379', 'b:1']);
  assert.is(address.tls, false);
  assert.is(formatEtcdAddress(address), 'etcd://a:2379,b:1/x');
});

test('wrong addresses are refused in words', () => {
  for (const text of [
    'etcd://',
    'etcd://host',
    'etcd://host/',
    'etcd://host/a/b',
    'etcd://host/a b',
    'etcd://host/-a',
    'etcd://host:0/a',
    'etcd://host:70000/a',
    'etcd://host,,b/a',
    'etcd://h/a?cert=/c',
    'etcd://h/a?ca=',
    'etcd://h/a?color=red',
    'etcd://h/a?ca=%zz',
  ]) {
    assert.throws(
      () => parseEtcdAddress(text),
      (error: unknown) => AppError.isCode(error, 'usage'),
      text,
    );
  }
});

test('a password does not show', () => {
  assert.is(withoutPassword('etcd://me:secret@h:1/x'), 'etcd://me:***@h:1/x');
  assert.is(withoutPassword('etcd://me@h:1/x'), 'etcd://me@h:1/x');
});

test.run();
