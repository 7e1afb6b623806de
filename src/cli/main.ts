#!/usr/bin/env node
import { runDog } from './program.js';

/** `dog`, and under its older name `collie`: joins the process to the program, nothing else. */

// The reader of a pipe may go away at any time; writers get the error where they wait, and end quietly.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

process.exitCode = await runDog(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  stdinIsTerminal: process.stdin.isTTY ?? false,
  stderrIsTerminal: process.stderr.isTTY ?? false,
});
// A terminal or an open pipe on standard input would keep the process alive after its work is done.
process.stdin.destroy();
