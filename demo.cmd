@echo off
rem Sets up .venv and starts backend and studio, as `make demo` does; Ctrl-C ends both.
cd /d "%~dp0"
set "PYTHON=py"
where py >nul 2>nul || set "PYTHON=python"
if exist .venv\Scripts\python.exe set "PYTHON=.venv\Scripts\python.exe"
%PYTHON% -m scripts.demo --install
