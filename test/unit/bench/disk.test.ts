import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { deviceNumber, fileSystemOf, writtenBytesIn } from '../../bench/disk.js';

test('written bytes are the seventh number of the statistics, in sectors of 512', () => {
  assert.is(writtenBytesIn('   9 1 2 3  8 4  100 5 0 6 7 0 0 0 0 1 2\n'), 51_200);
});

test('a device has two numbers, of up to 12 and 20 bits', () => {
  assert.equal(deviceNumber(0xfe01n), [254, 1]);
  assert.equal(deviceNumber((0xabcn << 8n) | 0x34n | (0x12n << 20n)), [0xabc, 0x1234]);
});

test('the type of a file system stands behind the dash', () => {
  const mounts = '21 1 254:1 / / rw,noatime shared:1 - ext4 /dev/x rw\n22 21 0:5 / /proc rw - proc proc rw\n';
  assert.is(fileSystemOf(mounts, '254:1'), 'ext4');
  assert.is(fileSystemOf(mounts, '0:5'), 'proc');
  assert.is(fileSystemOf(mounts, '8:1'), undefined);
});

test.run();
