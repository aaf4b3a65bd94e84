// Compiles every contract of solidity/ into artifacts/NAME.json, and nothing else: what is checked in is what this
// writes, byte for byte, on every machine (no metadata hash, no paths, one compiler version).
//
//   node compile.mjs            writes artifacts/
//   node compile.mjs --check    writes nothing; exit 1 names each artifact that differs
//   node compile.mjs --out DIR  writes to DIR instead
//
// Exit codes: 0 done, 1 an artifact differs or a source does not compile, 2 usage, solc missing or of another version.

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const room = dirname(fileURLToPath(import.meta.url));
const sources = join(room, "solidity");
const wanted = JSON.parse(readFileSync(join(room, "package.json"), "utf8")).devDependencies.solc;

function fail(code, message) {
  process.stderr.write(`compile.mjs: ${message}\n`);
  process.exit(code);
}

function parseArguments(args) {
  let check = false;
  let out = join(room, "artifacts");
  for (let i = 0; i < args.length; i += 1) {
    if (args[i] === "--check") check = true;
    else if (args[i] === "--out" && args[i + 1]) out = resolve(args[(i += 1)]);
    else fail(2, `unknown argument ${args[i]}; usage: node compile.mjs [--check] [--out DIR]`);
  }
  return { check, out };
}

function loadCompiler() {
  let solc;
  try {
    solc = createRequire(import.meta.url)("solc");
  } catch {
    fail(2, `solc is not installed; run: npm install --prefix ${room}`);
  }
  const version = solc.semver().split("+")[0];
  if (version !== wanted) fail(2, `solc ${version} is installed, ${wanted} is wanted; run: npm install --prefix ${room}`);
  return solc;
}

// Who forwards what it does not know to another half of itself: one address, one ABI.
const halves = { Agent: "AgentKeepers" };

function wholeAbi(name, contracts) {
  const { abi } = contracts[name];
  if (!halves[name]) return abi;
  const key = (entry) => `${entry.type} ${entry.name}(${(entry.inputs ?? []).map((input) => input.type).join()})`;
  const known = new Set(abi.map(key));
  return [...abi, ...contracts[halves[name]].abi.filter((entry) => entry.type === "function" && !known.has(key(entry)))];
}

function compile(solc) {
  const names = readdirSync(sources).filter((name) => name.endsWith(".sol")).sort();
  const settings = {
    optimizer: { enabled: true, runs: 200 },
    evmVersion: "cancun",
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: {
      "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences", "storageLayout"] },
    },
  };
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(names.map((name) => [name, { content: readFileSync(join(sources, name), "utf8") }])),
    settings,
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const messages = output.errors ?? [];
  for (const message of messages) process.stderr.write(`${message.formattedMessage}\n`);
  if (messages.length > 0) fail(1, "the sources do not compile cleanly (a warning counts as an error)");

  const artifacts = new Map();
  const all = Object.assign({}, ...Object.values(output.contracts));
  for (const [source, contracts] of Object.entries(output.contracts)) {
    for (const [name, contract] of Object.entries(contracts)) {
      // An interface, or a library that is compiled into its callers.
      if (contract.evm.bytecode.object === "" || contract.abi.length === 0) continue;
      if (artifacts.has(name)) fail(1, `two contracts are named ${name}`);
      const artifact = {
        contractName: name,
        sourceName: `solidity/${source}`,
        compiler: { version: wanted, evmVersion: settings.evmVersion, optimizer: settings.optimizer },
        abi: wholeAbi(name, all),
        bytecode: `0x${contract.evm.bytecode.object}`,
        deployedBytecode: `0x${contract.evm.deployedBytecode.object}`,
        immutableReferences: contract.evm.deployedBytecode.immutableReferences,
        storageLayout: contract.storageLayout,
      };
      artifacts.set(name, `${JSON.stringify(artifact, null, 1)}\n`);
    }
  }
  return artifacts;
}

const { check, out } = parseArguments(process.argv.slice(2));
const artifacts = compile(loadCompiler());
const present = existsSync(out) ? readdirSync(out).filter((name) => name.endsWith(".json")) : [];
const stale = present.filter((name) => !artifacts.has(name.slice(0, -".json".length)));

if (check) {
  const differing = [...artifacts]
    .filter(([name, text]) => !existsSync(join(out, `${name}.json`)) || readFileSync(join(out, `${name}.json`), "utf8") !== text)
    .map(([name]) => `${name}.json`);
  if (differing.length + stale.length > 0) {
    fail(1, `${[...differing, ...stale].join(", ")} in ${out} do not match the sources; run: node compile.mjs`);
  }
  process.stdout.write(`${artifacts.size} artifacts match their sources\n`);
} else {
  mkdirSync(out, { recursive: true });
  for (const name of stale) rmSync(join(out, name));
  for (const [name, text] of artifacts) {
    writeFileSync(join(out, `${name}.json`), text);
    process.stdout.write(`${name}.json: ${(JSON.parse(text).deployedBytecode.length - 2) / 2} bytes of code\n`);
  }
}
