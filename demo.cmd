@echo off
rem Sets up .venv and starts backend and studio, as `make demo` does; Ctrl-C ends both.
cd /d "%~dp0"
if not exist .venv\Scripts\python.exe py -m venv .venv || exit /b 1
.venv\Scripts\python scripts\install.py backend ui openvino || exit /b 1
.venv\Scripts\python -m scripts.demo
