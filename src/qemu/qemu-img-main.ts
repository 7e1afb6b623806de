#!/usr/bin/env node
import { runImg, TOOL } from './img.js';
import { endWith } from './run-tool.js';

/** `sheepdog-qemu-img`: joins the process to the tool, nothing else. */
await endWith(TOOL, runImg(process.argv.slice(2), process.env));
