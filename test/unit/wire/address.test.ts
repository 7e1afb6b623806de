import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addressBytes, formatAddress } from '../../../src/wire/address.js';

const cases: [text: string, hex: string][] = [
  ['127.0.0.1', '0000000000000000000000007f000001'],
  ['10.1.2.255', '0000000000000000000000000a0102ff'],
  ['fe80::1', 'fe800000000000000000000000000001'],
  ['2001:db8:1:2:3:4:5:6', '20010db8000100020003000400050006'],
  ['2001:db8::', '20010db8000000000000000000000000'],
  ['64:ff9b::7f00:1', '0064ff9b00000000000000007f000001'],
];
for (const [text, hex] of cases) {
  test(`${text} is sixteen bytes and back`, () => {
    assert.is(addressBytes(text)!.toString('hex'), hex);
    assert.is(formatAddress(Buffer.from(hex, 'hex')), text);
  });
}

test('an IPv4 address seen through IPv6 is the same node', () => {
  assert.equal(addressBytes('::ffff:10.0.0.1'), addressBytes('10.0.0.1'));
  assert.equal(addressBytes('::10.0.0.1'), addressBytes('10.0.0.1'));
});

test('a scope does not count', () => {
  assert.equal(addressBytes('fe80::1%eth0'), addressBytes('fe80::1'));
});

test('a host name has no bytes', () => {
  for (const host of ['localhost', '', '1.2.3', '256.1.1.1', 'n1', ':::', '::1::2']) {
    assert.is(addressBytes(host), undefined);
  }
});

test.run();
