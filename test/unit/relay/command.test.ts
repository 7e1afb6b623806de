import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dog } from '../../helpers/run-dog.js';

test('dog relay says what is missing or wrong, before it listens anywhere', async () => {
  const cases: [string, RegExp][] = [
    ['', /Where to listen\?/],
    ['--to 7000', /Where to listen\?/],
    ['--listen 127.0.0.1:0', /Which sheep\?/],
    ['--listen 127.0.0.1:0 --to 7000 --to-socket /s', /Which sheep\?/],
    ['--listen somewhere --to 7000', /Invalid address 'somewhere'/],
    ['--listen 127.0.0.1:65536 --to 7000', /Invalid address '127.0.0.1:65536'/],
    ['--listen 127.0.0.1:0 --to host:7000,', /Invalid address ''/],
    ['--listen 127.0.0.1:0 --to ::1:7000', /Invalid address '::1:7000'/],
  ];
  for (const [words, message] of cases) {
    const { exit, stderr } = await dog(['relay', ...words.split(' ').filter((word) => word !== '')]);
    assert.is(exit, 64, words);
    assert.match(stderr, message);
  }
});

test('dog relay ends with exit 2 when it cannot listen', async () => {
  const { exit, stderr } = await dog(['relay', '--listen-socket', '/nonexistent/sock', '--to', '[::1]:7000']);
  assert.is(exit, 2);
  assert.match(stderr, /the relay cannot listen/);
});

test('dog relay --help shows how an old QEMU and a domain use it', async () => {
  const { stdout } = await dog(['relay', '--help']);
  assert.match(stdout, /qemu-system-x86_64 .*sheepdog:\/\/127\.0\.0\.1:7070/);
  assert.match(
    stdout,
    /<source protocol='sheepdog' name='disk0'>\n *<host name='127\.0\.0\.1' port='7070'\/>/,
  );
});

test.run();
