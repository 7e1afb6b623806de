#!/usr/bin/env node
import { runIo, TOOL } from './io.js';
import { endWith } from './run-tool.js';

/** `sheepdog-qemu-io`: joins the process to the tool, nothing else. */
await endWith(TOOL, runIo(process.argv.slice(2), process.env));
